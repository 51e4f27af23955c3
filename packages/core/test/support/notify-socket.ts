/** A stand-in for systemd at the other end of NOTIFY_SOCKET. Python, because Node opens no Unix datagram sockets. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Prints each message on one line, and closes what `systemd-notify` sends along to learn that it was read. */
const PROGRAM = `
import array, os, socket, sys
name = sys.argv[1]
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.bind("\\0" + name[1:] if name[0] == "@" else name)
print("bound", flush=True)
while True:
    message, ancillary, _, _ = end.recvmsg(65536, socket.CMSG_LEN(64))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors = array.array("i")
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
            for descriptor in descriptors: os.close(descriptor)
    print(message.decode().replace("\\n", "|"), flush=True)
`;

export const hasSystemdNotify = spawnSync("systemd-notify", ["--version"]).status === 0 && spawnSync("python3", ["-V"]).status === 0;

export class NotifySocket implements AsyncDisposable {
  /** In the order in which they came, but for those that only ask whether it was read. */
  readonly messages: string[] = [];
  readonly #process: ChildProcess;
  readonly #watchers = new Set<() => void>();

  private constructor(child: ChildProcess) {
    this.#process = child;
  }

  /** @param name a path, or `@name` for an abstract socket */
  static async open(name: string): Promise<NotifySocket> {
    const child = spawn("python3", ["-c", PROGRAM, name], { stdio: ["ignore", "pipe", "inherit"] });
    const socket = new NotifySocket(child);
    const lines = createInterface({ input: child.stdout });
    const bound = once(lines, "line");
    lines.on("line", (line) => {
      if (line === "bound" || line === "BARRIER=1") return;
      socket.messages.push(line);
      for (const tell of socket.#watchers) tell();
    });
    await bound;
    return socket;
  }

  /** Resolves with the first message of that kind, from number `from` on. */
  says(pattern: RegExp, from = 0): Promise<string> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = this.messages.slice(from).find((message) => pattern.test(message));
        if (found === undefined) return;
        this.#watchers.delete(look);
        resolve(found);
      };
      this.#watchers.add(look);
      look();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await gone;
  }
}
