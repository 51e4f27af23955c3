import { mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { canonicalPath, networkName, typeOfMount } from "./file-system.ts";

const never = (): string | undefined => {
  throw new Error("the mount table was read");
};

test.each([
  [0x6969, "NFS"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x01021997, "9P"],
])("a network file system is known by its number (0x%s)", (magic, name) => {
  expect(networkName(magic, never)).toBe(name);
});

test.each([0xef53, 0x9123683e, 0x01021994, 0x58465342, 0x794c7630])("a local one is not (0x%s)", (magic) => {
  expect(networkName(magic, never)).toBeUndefined();
});

test.each([
  ["fuse.sshfs", "fuse.sshfs"],
  ["fuse.rclone", "fuse.rclone"],
  ["fuseblk", undefined],
  ["fuse.gocryptfs", undefined],
  [undefined, "an unknown file system in user space (FUSE)"],
])("a file system in user space is judged by the type of its mount (%s)", (type, name) => {
  expect(networkName(0x65735546, () => type)).toBe(name);
});

test("the mount of a path is the longest that holds it", () => {
  const mounts = [
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
    "30 22 0:40 / /home rw shared:1 - btrfs /dev/sdb rw",
    "31 30 0:41 / /home/ann/far\\040away rw - fuse.sshfs ann@host: rw",
    "32 30 0:42 / /home/an rw - nfs host:/ rw",
  ].join("\n");
  expect(typeOfMount(mounts, "/home/ann/far away/x.db")).toBe("fuse.sshfs");
  expect(typeOfMount(mounts, "/home/ann/x.db")).toBe("btrfs");
  expect(typeOfMount(mounts, "/var/x.db")).toBe("ext4");
});

test("the folder of the embedded broker keeps itself out of Git when it is made, and only then; other folders get nothing", () => {
  const root = mkdtempSync(join(tmpdir(), "lovage-git-"));
  canonicalPath(join(root, ".lovage", "lovage.db"));
  expect(readFileSync(join(root, ".lovage", ".gitignore"), "utf8")).toBe("*\n");
  unlinkSync(join(root, ".lovage", ".gitignore"));
  canonicalPath(join(root, ".lovage", "lovage.db"));
  canonicalPath(join(root, "data", "x.db"));
  expect([readdirSync(join(root, ".lovage")), readdirSync(join(root, "data"))]).toEqual([[], []]);
  rmSync(root, { recursive: true });
});
