// The service as the page calls it.

const BLOCK = 16 << 20;
const PAUSE = 1500;
const PATIENCE = 80;

// An error of the service: a kind, and the words of the command line.
export class Problem extends Error {
  constructor(told) {
    super(told.message);
    Object.assign(this, { code: told.code, where: told.where, hint: told.hint, status: told.status });
  }
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export async function ask(method, path, body, headers = {}) {
  const sent = body instanceof Blob || body === undefined ? body : JSON.stringify(body);
  if (body !== undefined && !(body instanceof Blob)) headers["Content-Type"] = "application/json";
  const answer = await fetch(`/v1${path}`, { method, body: sent, headers });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const told = await answer.json().catch(() => null);
  throw new Problem(told ?? { code: "internal", message: `the server answers ${answer.status}`, status: answer.status });
}

// Asks again while the server cannot be reached: what it accepted, it still has.
async function patiently(request) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await request();
    } catch (error) {
      const gone = error instanceof TypeError || [429, 502, 503, 504].includes(error.status);
      if (!gone || tries === PATIENCE) throw error;
      await wait(PAUSE);
    }
  }
}

// Sends a file in blocks; one that breaks off is sent from where the server has it.
export async function upload(blob, name, told, signal) {
  let state = await patiently(() => ask("POST", "/uploads", { name, size: blob.size }));
  while (!state.complete) {
    signal.throwIfAborted();
    told(state.offset);
    state = await patiently(async () => {
      const { offset } = await ask("GET", `/uploads/${state.id}`);
      const block = blob.slice(offset, offset + BLOCK);
      return ask("PATCH", `/uploads/${state.id}`, block, { "Upload-Offset": `${offset}` });
    });
  }
  told(blob.size);
  return state;
}

export const inspect = (id, choices) => patiently(() => ask("POST", `/uploads/${id}/inspection`, choices));

export function convert(wanted) {
  const key = { "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") };
  return patiently(() => ask("POST", "/jobs", wanted, { ...key }));
}

// Follows a job to its end; the browser takes up a broken stream by itself.
export function follow(id, told) {
  return new Promise((resolve) => {
    const stream = new EventSource(`/v1/jobs/${id}/events`);
    const heard = async (event) => {
      const { kind, text } = JSON.parse(event.data);
      told(kind, text);
      if (kind === "state" && ["done", "failed", "cancelled"].includes(text)) {
        stream.close();
        resolve(await patiently(() => ask("GET", `/jobs/${id}`)));
      }
    };
    stream.addEventListener("state", heard);
    stream.addEventListener("step", heard);
  });
}
