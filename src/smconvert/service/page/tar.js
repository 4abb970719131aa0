// A folder as one .tar, made of headers and of the files themselves: nothing is read or copied
// before it is sent, whatever the size.

const HEADER = 512;
const MOST = 8 ** 11 - 1;

function header(name, size, kind) {
  const bytes = new Uint8Array(HEADER);
  const write = (text, at) => bytes.set(new TextEncoder().encode(text), at);
  const octal = (number, digits) => number.toString(8).padStart(digits, "0");
  write(name, 0);
  write("0000644\0", 100);
  write("0000000\0", 108);
  write("0000000\0", 116);
  write(`${octal(size, 11)}\0`, 124);
  write("00000000000\0", 136);
  write("        ", 148);
  write(kind, 156);
  write("ustar\x0000", 257);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  write(`${octal(sum, 6)}\0 `, 148);
  return bytes;
}

const padding = (size) => new Uint8Array((HEADER - (size % HEADER)) % HEADER);

// A record of the extended format: its own length is part of it.
function record(key, value) {
  const length = new TextEncoder().encode(`${key}=${value}\n`).length + 1;
  let all = length + `${length}`.length;
  if (`${all}`.length > `${length}`.length) all = length + `${all}`.length;
  return `${all} ${key}=${value}\n`;
}

// files: [{ path, file }]
export function tar(files) {
  const parts = [];
  for (const { path, file } of files) {
    const records = [];
    if (new TextEncoder().encode(path).length > 99) records.push(record("path", path));
    if (file.size > MOST) records.push(record("size", file.size));
    if (records.length) {
      const extended = new TextEncoder().encode(records.join(""));
      parts.push(header("extended", extended.length, "x"), extended, padding(extended.length));
    }
    const short = records.length ? "file" : path;
    parts.push(header(short, Math.min(file.size, MOST), "0"), file, padding(file.size));
  }
  parts.push(new Uint8Array(2 * HEADER));
  return new Blob(parts, { type: "application/x-tar" });
}

// What was dropped: one file, or all files of a folder with their paths.
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ path: file.name, file }));
  const files = [];
  for (const entry of entries) await walk(entry, files);
  return files;
}

async function walk(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    files.push({ path: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const child of some) await walk(child, files);
  }
}
