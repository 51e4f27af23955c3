/**
 * What must be true of the place before a database is opened there: the directory exists, the file is the user's alone,
 * and the file system is a local one. SQLite's WAL needs memory that all its processes share, which no network has.
 */
import { closeSync, mkdirSync, openSync, readFileSync, realpathSync, statfsSync, writeFileSync } from "node:fs";
import { basename, dirname, join, sep } from "node:path";
import { SqliteFileError } from "./errors.ts";

/** Magic numbers of Linux's statfs(2). */
const NETWORK: Readonly<Record<number, string>> = {
  0x6969: "NFS",
  0x517b: "SMB",
  0xff534d42: "CIFS",
  0xfe534d42: "SMB2",
  0x564c: "NCP",
  0x5346414f: "AFS",
  0x73757245: "Coda",
  0x00c36400: "Ceph",
  0x01021997: "9P",
  0x0bd00bd0: "Lustre",
  0x47504653: "GPFS",
  0x786f4256: "a VirtualBox shared folder",
};
const FUSE = 0x65735546;
const EMBEDDED = ".lovage";
/** File systems in user space that are known to keep their files on this machine. */
const LOCAL_FUSE = /^(fuseblk|fuse\.(fuse-overlayfs|overlayfs|gocryptfs|encfs|cryfs|bindfs|mergerfs|ntfs-3g|ext2fs|lxcfs))$/;

/** The same file by one name, whatever links lead to its directory, which is made when missing. */
export function canonicalPath(path: string): string {
  try {
    if (mkdirSync(dirname(path), { recursive: true, mode: 0o700 }) !== undefined) keepOutOfGit(dirname(path));
    return join(realpathSync(dirname(path)), basename(path));
  } catch (error) {
    throw new SqliteFileError(path, `has no usable directory: ${(error as Error).message}`, { cause: error });
  }
}

/** The directory of the embedded broker, `.lovage`, is made with a file that keeps it out of Git; it is a working copy's own. */
function keepOutOfGit(directory: string): void {
  if (basename(directory) !== EMBEDDED) return;
  try {
    writeFileSync(join(directory, ".gitignore"), "*\n", { flag: "wx" });
  } catch {
    // It is there, or cannot be: nothing depends on it.
  }
}

/**
 * Makes the file when it is missing, mode 0600, which the `-wal` and `-shm` files inherit. An existing one is not even
 * opened: closing it would drop the locks that SQLite holds on it elsewhere in this process.
 */
export function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
    throw new SqliteFileError(path, `cannot be made: ${(error as Error).message}`, { cause: error });
  }
}

/** @throws SqliteFileError on a network file system (Linux; elsewhere it cannot be told). */
export function refuseNetwork(path: string): void {
  if (process.platform !== "linux") return;
  const network = networkName(statfsSync(dirname(path)).type >>> 0, () => mountType(path));
  if (network === undefined) return;
  throw new SqliteFileError(path, `is on ${network}: its processes could not lock each other out; put it on a local disk`);
}

/** The name of a network file system, or undefined for a local one. `typeOf` gives the type of the mount and is asked only for FUSE. */
export function networkName(magic: number, typeOf: () => string | undefined): string | undefined {
  if (magic !== FUSE) return NETWORK[magic];
  const type = typeOf() ?? "an unknown file system in user space (FUSE)";
  return LOCAL_FUSE.test(type) ? undefined : type;
}

/** The type of the mount that holds the path, e.g. `fuse.sshfs`. */
function mountType(path: string): string | undefined {
  return typeOfMount(readFileSync("/proc/self/mountinfo", "utf8"), path);
}

/** @param mountInfo the text of /proc/self/mountinfo */
export function typeOfMount(mountInfo: string, path: string): string | undefined {
  let longest = "";
  let type: string | undefined;
  for (const line of mountInfo.split("\n")) {
    const [mount, source] = line.split(" - ");
    const at = mount?.split(" ")[4]?.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
    if (at === undefined || source === undefined || at.length < longest.length) continue;
    if (path !== at && !path.startsWith(at.endsWith(sep) ? at : at + sep)) continue;
    longest = at;
    type = source.split(" ")[0];
  }
  return type;
}
