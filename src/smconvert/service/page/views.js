// What is shown, made of elements: whatever a model calls its tensors, it stays text.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function bytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = count < 1024 ? 0 : Math.min(Math.floor(Math.log2(count) / 10), 4);
  return `${Number((count / 1024 ** power).toPrecision(3))} ${units[power]}`;
}

export const FORMATS = {
  savedmodel: ["SavedModel", "A folder for TensorFlow 2 and TensorFlow Serving"],
  graphdef: ["Frozen graph", "One .pb file, its weights inside"],
  onnx: ["ONNX", "For ONNX Runtime and everything else that reads it"],
};
export const formatName = (format) => FORMATS[format]?.[0] ?? format;

const shape = (dimensions) =>
  dimensions === null ? "unknown rank" : dimensions.length ? dimensions.map((d) => d ?? "?").join(" × ") : "scalar";

function table(caption, heads, rows) {
  const cells = (row) => row.map((cell, at) => element(at ? "td" : "th", at ? {} : { scope: "row" }, cell));
  return element("div", { class: "scroll" }, element("table", {},
    caption && element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row))))));
}

function facts(pairs) {
  const shown = pairs.filter(([, value]) => value);
  return element("dl", {}, ...shown.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export function description(told) {
  const ops = Object.entries(told.ops).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const weights = told.variables.reduce((sum, variable) => sum + variable.bytes, 0);
  const chips = ops.slice(0, 14).map(([op, count]) => element("li", {}, `${op} ${count}`));
  if (ops.length > 14) chips.push(element("li", {}, `and ${ops.length - 14} more`));
  return [
    facts([
      ["Format", formatName(told.format)],
      ["Written by", told.producer && `TensorFlow ${told.producer}`],
      ["Variables", told.variables.length && `${told.variables.length}, ${bytes(weights)}`],
      ["Checkpoint", told.checkpoint],
      ["Tag sets", told.tag_sets.map((tags) => `{${tags.join(", ")}}`).join(" ")],
      ["Assets", told.assets.join(", ")],
      ["Tables", told.tables.join(", ")],
      ["Ops", ops.length && element("ul", { class: "chips" }, ...chips)],
    ]),
    ...told.notes.map((note) => element("p", { class: "soft" }, note)),
    ...told.signatures.map((signature) => table(
      `Signature ${signature.name}`, ["Name", "Kind", "Type", "Shape"],
      [["input", signature.inputs], ["output", signature.outputs]].flatMap(([kind, infos]) =>
        infos.map((info) => [info.name, info.optional ? `${kind}, optional` : kind, info.dtype, shape(info.shape)])))),
  ];
}

// The ranked guesses for a graph without signatures, the likeliest of them chosen.
export function candidates(kind, found) {
  const best = Math.max(...found.map((candidate) => candidate.score));
  const rows = found.map((candidate, at) => {
    const id = `${kind}-${at}`;
    const wanted = kind === "inputs" || candidate.score === best;
    return element("div", { class: "candidate" },
      element("input", { type: "checkbox", id, checked: wanted, "data-tensor": candidate.tensor, "aria-describedby": `${id}-why` }),
      element("label", { for: id, class: "tensor" }, candidate.tensor),
      element("input", { "aria-label": `Name of ${candidate.tensor}`, value: candidate.name, autocomplete: "off" }),
      element("small", { id: `${id}-why` }, candidate.reason));
  });
  const title = kind === "inputs" ? "Inputs" : "Outputs";
  return element("fieldset", { id: kind },
    element("legend", {}, `${title}, the likeliest first`),
    element("div", { class: "candidates" }, ...rows));
}

export function signatures(found) {
  return element("fieldset", { id: "signatures" },
    element("legend", {}, "Signatures"),
    ...found.map((signature) => element("p", { class: "check" },
      element("label", {}, element("input", { type: "checkbox", value: signature.name, checked: true }), signature.name))));
}

export function target(format, blockers) {
  const [name, what] = FORMATS[format] ?? [format, ""];
  const why = blockers.map((reason) => element("small", { class: "why" }, reason));
  return element("label", { class: "target" },
    element("input", { type: "radio", name: "target", value: format, required: true }),
    element("strong", {}, name), element("small", {}, what), ...why);
}

export function problem(error) {
  return element("div", { class: "notice bad" },
    element("strong", {}, error.message),
    error.where && element("p", {}, "Where: ", element("code", {}, error.where)),
    error.hint && element("p", {}, `Try: ${error.hint}`));
}

const VERDICTS = {
  passed: ["good", "The result computes what the source computes"],
  failed: ["bad", "The result does not compute what the source computes"],
  not_run: ["none", "Converted, but the check could not be run"],
};

function verdict(parity) {
  if (!parity) return element("div", { class: "notice none" }, element("strong", {}, "Converted, and not checked"));
  const [style, words] = VERDICTS[parity.verdict];
  return element("div", { class: `notice ${style}` }, element("strong", {}, words), parity.reason && element("p", {}, parity.reason));
}

function outputs(parity) {
  const all = parity.signatures.flatMap((signature) => signature.outputs.map((output) => [signature, output]));
  if (!all.length) return null;
  const heads = ["Output", "Verdict", "Largest difference"];
  const explained = all.some(([, output]) => output.reason);
  const rows = all.map(([signature, output]) => [
    `${signature.name}/${output.name}`, output.verdict.replace("_", " "),
    output.verdict === "not_run" ? "–" : Number(output.max_abs).toPrecision(3).replace(/^0\.00$/, "0"),
    ...(explained ? [output.reason ?? ""] : []),
  ]);
  return table("Compared with the source", explained ? [...heads, "Why"] : heads, rows);
}

// What came of a job, with what can be fetched.
export function outcome(job) {
  const at = `/v1/jobs/${job.id}`;
  const parity = job.conversion?.parity;
  const compared = parity || job.error?.code === "parity";
  const report = element("iframe", { title: "Parity report", sandbox: "" });
  const unfolded = element("details", { class: "report" }, element("summary", {}, "Parity report"), report);
  unfolded.addEventListener("toggle", () => (report.src ||= `${at}/report`), { once: true });
  const links = [
    job.result && element("a", { class: "button main", href: `${at}/result`, download: job.result.name },
      `Download ${job.result.name} (${bytes(job.result.size)})`),
    compared && element("a", { class: "button", href: `${at}/report`, target: "_blank", rel: "noopener" }, "Report in a new tab"),
    job.state !== "cancelled" && element("a", { class: "button", href: `${at}/log`, target: "_blank", rel: "noopener" }, "Log"),
  ].filter(Boolean);
  return [
    job.state === "cancelled" ? element("div", { class: "notice none" }, element("strong", {}, "Cancelled")) : null,
    job.state === "failed" ? problem(job.error) : null,
    job.state === "done" ? verdict(parity) : null,
    element("div", { class: "actions" }, ...links),
    ...(job.conversion?.changes ?? []).map((change) => element("p", { class: "soft" }, `Note: ${change}`)),
    parity ? outputs(parity) : null,
    compared ? unfolded : null,
  ].filter(Boolean);
}

export function jobs(found, open) {
  if (!found.length) return element("p", { class: "soft" }, "None yet.");
  const rows = found.map((job) => {
    const name = job.result?.name ?? job.request.name ?? `${formatName(job.request.target)} ${job.id.slice(0, 8)}`;
    const button = element("button", { type: "button", class: "plain" }, name);
    button.addEventListener("click", () => open(job));
    return [button, formatName(job.request.target), element("span", { class: `state ${job.state}` }, job.state),
      new Date(job.created * 1000).toLocaleString()];
  });
  return table(null, ["Result", "Format", "State", "Asked for"], rows);
}
