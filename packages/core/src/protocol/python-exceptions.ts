/** Names of JavaScript's errors in Python, and of the operating system's. */
export const PYTHON_NAMES: ReadonlyMap<string, string> = new Map([
  ["Error", "Exception"],
  ["TypeError", "TypeError"],
  ["RangeError", "ValueError"],
  ["SyntaxError", "SyntaxError"],
  ["ReferenceError", "NameError"],
  ["URIError", "ValueError"],
  ["EvalError", "RuntimeError"],
  ...[
    "ArithmeticError", "AssertionError", "AttributeError", "BrokenPipeError", "ConnectionAbortedError", "ConnectionError",
    "ConnectionRefusedError", "ConnectionResetError", "EOFError", "Exception", "FileExistsError", "FileNotFoundError",
    "IndexError", "InterruptedError", "IsADirectoryError", "KeyError", "LookupError", "MemoryError", "NameError",
    "NotADirectoryError", "NotImplementedError", "OSError", "OverflowError", "PermissionError", "RuntimeError", "TimeoutError",
    "UnicodeError", "ValueError", "ZeroDivisionError",
  ].map((name): [string, string] => [name, name]), // prettier-ignore
]);

/** What an error is called whose class was given no name of its own. */
export const NATIVE_NAMES: ReadonlySet<string> = new Set([
  "Error", "TypeError", "RangeError", "SyntaxError", "ReferenceError", "URIError", "EvalError", "AggregateError",
]); // prettier-ignore

interface SystemError {
  readonly type: string;
  /** Where it is not one of the builtins. */
  readonly module?: string;
  /** Linux's number, where the error carries none. */
  readonly errno: number;
}

export const SYSTEM_ERRORS: ReadonlyMap<string, SystemError> = new Map([
  ["ECONNREFUSED", { type: "ConnectionRefusedError", errno: 111 }],
  ["ECONNRESET", { type: "ConnectionResetError", errno: 104 }],
  ["ECONNABORTED", { type: "ConnectionAbortedError", errno: 103 }],
  ["EPIPE", { type: "BrokenPipeError", errno: 32 }],
  ["ETIMEDOUT", { type: "TimeoutError", errno: 110 }],
  ["ENOENT", { type: "FileNotFoundError", errno: 2 }],
  ["EACCES", { type: "PermissionError", errno: 13 }],
  ["EPERM", { type: "PermissionError", errno: 1 }],
  ["EEXIST", { type: "FileExistsError", errno: 17 }],
  ["EISDIR", { type: "IsADirectoryError", errno: 21 }],
  ["ENOTDIR", { type: "NotADirectoryError", errno: 20 }],
  ["EINTR", { type: "InterruptedError", errno: 4 }],
  ["EAGAIN", { type: "BlockingIOError", errno: 11 }],
  ["ECHILD", { type: "ChildProcessError", errno: 10 }],
  ["ESRCH", { type: "ProcessLookupError", errno: 3 }],
  ["ESHUTDOWN", { type: "BrokenPipeError", errno: 108 }],
  ["ENOSPC", { type: "OSError", errno: 28 }],
  ["EMFILE", { type: "OSError", errno: 24 }],
  ["EADDRINUSE", { type: "OSError", errno: 98 }],
  ["EHOSTUNREACH", { type: "OSError", errno: 113 }],
  ["ENETUNREACH", { type: "OSError", errno: 101 }],
  ["ENOTFOUND", { type: "gaierror", module: "socket", errno: -2 }],
  ["EAI_AGAIN", { type: "gaierror", module: "socket", errno: -3 }],
  // of fetch
  ["UND_ERR_CONNECT_TIMEOUT", { type: "TimeoutError", errno: 110 }],
  ["UND_ERR_HEADERS_TIMEOUT", { type: "TimeoutError", errno: 110 }],
  ["UND_ERR_BODY_TIMEOUT", { type: "TimeoutError", errno: 110 }],
  ["UND_ERR_SOCKET", { type: "ConnectionResetError", errno: 104 }],
]);
