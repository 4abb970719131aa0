// The page: one model at a time, from the file to the proven result.

import * as api from "./api.js";
import { dropped, tar } from "./tar.js";
import * as views from "./views.js";

const at = (id) => document.getElementById(id);
const state = { about: null, upload: null, description: null, job: null, sending: null };

function show(error) {
  const told = error instanceof TypeError ? new api.Problem({ message: "the server cannot be reached", hint: "is it running?" }) : error;
  at("problem").replaceChildren(views.problem(told));
  at("problem").scrollIntoView({ block: "nearest" });
}

// Runs what a person asked for; what goes wrong is told above.
const tried = (work) => async (...given) => {
  at("problem").replaceChildren();
  try {
    await work(...given);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) askForToken();
    show(error);
  }
};

function askForToken() {
  at("token-part").hidden = false;
  at("work").hidden = true;
  at("leave").hidden = true;
  at("token").focus();
}

async function enter() {
  state.about ??= await api.ask("GET", "/about");
  at("most").textContent = views.bytes(state.about.upload_bytes);
  let found;
  try {
    found = await api.ask("GET", "/jobs?limit=10");
  } catch (error) {
    if (error.status !== 401) throw error;
    askForToken();
    return;
  }
  at("token-part").hidden = true;
  at("work").hidden = false;
  at("leave").hidden = state.about.open;
  at("jobs").replaceChildren(views.jobs(found.jobs, tried(open)));
}

async function signIn(event) {
  event.preventDefault();
  await api.ask("POST", "/session", { token: at("token").value.trim() });
  at("token").value = "";
  await enter();
  at("main").focus();
}

async function take(files) {
  if (!files.length) return;
  const single = files.length === 1 && !files[0].path.includes("/");
  const top = files[0].path.split("/")[0];
  const name = single ? files[0].file.name : `${top}.tar`;
  const blob = single ? files[0].file : tar(files);
  state.sending?.abort();
  state.sending = new AbortController();
  const { signal } = state.sending;
  begin(name, blob.size);
  let upload;
  try {
    upload = await api.upload(blob, name, told(blob.size), signal);
  } catch (error) {
    if (!signal.aborted) restart();
    throw error;
  }
  state.upload = upload;
  at("upload-state").textContent = "Looking at it …";
  await look({});
  at("look-title").focus();
}

function begin(name, size) {
  for (const id of ["look", "target", "job"]) at(id).hidden = true;
  at("drop").hidden = true;
  at("upload").hidden = false;
  at("upload-bar").hidden = false;
  at("upload-name").textContent = name;
  at("upload-size").textContent = views.bytes(size);
}

function told(size) {
  let last = "";
  return (offset) => {
    at("upload-bar").value = size ? offset / size : 1;
    // A screen reader is told each tenth, not each block.
    const words = `${Math.floor((size ? offset / size : 1) * 10) * 10} % sent`;
    if (words !== last) at("upload-state").textContent = words;
    last = words;
  };
}

function restart() {
  state.sending?.abort();
  for (const id of ["upload", "look", "target", "job"]) at(id).hidden = true;
  at("drop").hidden = false;
  at("file").value = "";
  at("folder").value = "";
}

async function look(choices) {
  try {
    state.description = await api.inspect(state.upload.id, choices);
  } catch (error) {
    at("upload-state").textContent = "It cannot be read.";
    throw error;
  }
  at("upload-state").textContent = "Uploaded.";
  at("upload-bar").hidden = true;
  const found = state.description;
  at("description").replaceChildren(...views.description(found));
  at("look").hidden = false;
  const choice = [];
  if (found.signatures.length > 1) choice.push(views.signatures(found.signatures));
  if (found.input_candidates.length) choice.push(views.candidates("inputs", found.input_candidates));
  if (found.output_candidates.length) choice.push(views.candidates("outputs", found.output_candidates));
  at("choices").replaceChildren(...choice);
  const order = ["onnx", "savedmodel", "graphdef"];
  const targets = state.about.targets.toSorted((a, b) => order.indexOf(a) - order.indexOf(b));
  at("targets").replaceChildren(...targets.map((format) => views.target(format, found.blockers[format] ?? [])));
  const free = targets.find((format) => !found.blockers[format]?.length) ?? targets[0];
  at("targets").querySelector(`[value="${free}"]`).checked = true;
  fit();
  at("target").hidden = false;
  at("job").hidden = true;
}

const chosenTarget = () => at("form").elements.target.value;

// Shows the options that mean something for the target.
function fit() {
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== chosenTarget();
}

function tensors(kind) {
  const chosen = [...document.querySelectorAll(`#${kind} .candidate`)].filter((row) => row.querySelector("[type=checkbox]").checked);
  return Object.fromEntries(chosen.map((row) => [row.querySelector("input:not([type])").value.trim(), row.querySelector("[data-tensor]").dataset.tensor]));
}

function number(id) {
  const text = at(id).value.trim();
  if (!text) return null;
  if (!Number.isFinite(Number(text))) {
    at(id).focus();
    throw new api.Problem({ message: `${text} is not a number`, where: document.querySelector(`label[for=${id}]`).textContent });
  }
  return Number(text);
}

function fixed() {
  const found = {};
  for (const item of at("fixed").value.split(",").map((text) => text.trim()).filter(Boolean)) {
    const [name, text] = item.split("=").map((part) => part.trim());
    try {
      found[name] = JSON.parse(text);
    } catch {
      throw new api.Problem({ message: `${item} is not NAME=VALUE`, hint: "such as is_training=false, keep_prob=1.0" });
    }
  }
  return found;
}

function wanted() {
  const target = chosenTarget();
  const offered = document.querySelectorAll("#signatures input");
  const kept = [...offered].filter((box) => box.checked).map((box) => box.value);
  const only = (format, value) => (format === target ? value : null);
  return {
    upload: state.upload.id,
    target,
    name: at("name").value.trim() || null,
    source_options: {
      signatures: kept.length === offered.length ? [] : kept,
      inputs: tensors("inputs"),
      outputs: tensors("outputs"),
      fixed_inputs: fixed(),
      cut_examples: at("cut").checked,
    },
    target_options: { opset: only("onnx", number("opset")), compat: only("savedmodel", at("tf1").checked ? "tf1" : null) },
    check_options: { checked: at("checked").checked, rtol: number("rtol"), atol: number("atol") },
  };
}

async function submit(event) {
  event.preventDefault();
  at("convert").disabled = true;
  try {
    await open(await api.convert(wanted()));
  } finally {
    at("convert").disabled = false;
  }
}

// Shows a job, and follows it while it is not over.
async function open(job) {
  state.job = job;
  at("job").hidden = false;
  at("outcome").replaceChildren();
  at("steps").replaceChildren();
  at("job-title").focus();
  if (job.ended === null) {
    at("job-heading").textContent = "Converting";
    at("under-way").hidden = false;
    await enter();
    job = await api.follow(job.id, (kind, text) => state.job.id === job.id && step(kind, text));
  }
  if (state.job.id !== job.id) return;
  at("under-way").hidden = true;
  at("job-heading").textContent = "Result";
  at("outcome").replaceChildren(...views.outcome(job));
  at("job-title").focus();
  await enter();
}

function step(kind, text) {
  const words = kind === "state" ? { queued: "Waiting for a worker", running: "Starting" }[text] : text;
  if (!words) return;
  at("step").textContent = words;
  for (const item of at("steps").children) item.removeAttribute("aria-current");
  at("steps").append(views.element("li", { "aria-current": "step" }, words[0].toUpperCase() + words.slice(1)));
}

at("token-form").addEventListener("submit", tried(signIn));
at("leave").addEventListener("click", tried(async () => {
  await api.ask("DELETE", "/session");
  restart();
  askForToken();
}));
at("file").addEventListener("change", tried(() => take([...at("file").files].map((file) => ({ path: file.name, file })))));
at("folder").addEventListener("change", tried(() => take([...at("folder").files].map((file) => ({ path: file.webkitRelativePath, file })))));
at("another").addEventListener("click", () => {
  restart();
  at("file").focus();
});
at("form").addEventListener("submit", tried(submit));
at("targets").addEventListener("change", fit);
at("cancel").addEventListener("click", tried(() => api.ask("POST", `/jobs/${state.job.id}/cancel`)));
for (const kind of ["dragover", "dragenter"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
addEventListener("dragleave", (event) => event.relatedTarget || at("drop").classList.remove("over"));
addEventListener("drop", tried(async (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (!at("work").hidden) await take(await dropped(event.dataTransfer));
}));
tried(enter)();
