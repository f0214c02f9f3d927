// The review widget in the browser. It holds the answers, the place in them and the verdicts not yet on the disk;
// the kernel only writes. Logged text is set with textContent, nowhere else.

const CHOICES = [
  { key: "1", verdict: "real", words: "real", mark: "×" },
  { key: "2", verdict: "false_positive", words: "false positive", mark: "○" },
  { key: "3", verdict: "unsure", words: "unsure", mark: "?" },
];
const OPEN = "·";
const KEYS = [
  ["1", "the flag is deserved, the answer is bad"],
  ["2", "false positive, the answer is fine"],
  ["3", "unsure"],
  ["← →", "move without a verdict"],
  ["u", "undo the last verdict"],
  ["n", "write a note; Escape leaves it"],
  ["?", "show or hide the keys"],
];

function element(tag, className, text = "", attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function build(session) {
  const root = element("div", "lm-review", "", { tabindex: "0", role: "group", "aria-label": "Review of flagged answers" });
  const parts = {
    place: element("b", "lm-place"),
    where: element("span", "lm-where"),
    status: element("span", "lm-status", "all saved", { role: "status" }),
    question: element("pre", "lm-text lm-question", "", { tabindex: "0", role: "region", "aria-label": "Question" }),
    answer: element("pre", "lm-text lm-answer", "", { tabindex: "0", role: "region", "aria-label": "Answer" }),
    ask: element("p", "lm-ask"),
    judge: element("p", "lm-judge"),
    note: element("input", "lm-note", "", { type: "text", id: `lm-note-${session}`, maxlength: "2000", autocomplete: "off" }),
    strip: element("span", "lm-strip", "", { role: "img" }),
    count: element("span", "lm-count"),
    trouble: element("p", "lm-trouble", "", { role: "alert" }),
    keys: element("dl", "lm-keys"),
    help: element("button", "lm-help", "? keys", { type: "button", "aria-expanded": "false" }),
  };
  parts.buttons = CHOICES.map(({ key, verdict, words }) => {
    const button = element("button", "lm-choice", "", { type: "button", "aria-pressed": "false", "data-verdict": verdict });
    button.append(element("kbd", "", key), " ", words);
    return button;
  });
  for (const [key, words] of KEYS) parts.keys.append(element("dt", "", key), element("dd", "", words));
  parts.keys.hidden = true;
  parts.trouble.hidden = true;
  const row = (className, ...children) => {
    const made = element("div", className);
    made.append(...children);
    return made;
  };
  const label = element("label", "lm-note-label", "note (n)", { for: parts.note.id });
  root.append(
    row("lm-head", parts.place, parts.where, parts.status),
    element("div", "lm-label", "Question"), parts.question,
    element("div", "lm-label", "Answer"), parts.answer,
    parts.ask,
    row("lm-choices", ...parts.buttons, label, parts.note),
    parts.judge,
    row("lm-foot", parts.strip, parts.count, parts.help),
    parts.keys, parts.trouble,
  );
  return { root, ...parts };
}

function render({ model, el }) {
  const session = Math.random().toString(36).slice(2, 12);
  const view = build(session);
  const done = new Map(); // request id -> { verdict, note }
  const notes = new Map(); // request id -> a note not yet part of a verdict
  const waiting = new Set(); // seq of the verdicts that are not yet acknowledged
  const undo = []; // { id, before }
  let items = [];
  let cursor = 0;
  let seq = 0;
  let finished = false; // all read: no key answers until the reader moves

  const open = (index) => !done.has(items[index].request_id);
  const current = () => items[cursor];

  function show() {
    const item = current();
    view.root.dataset.requestId = item ? item.request_id : "";
    view.place.textContent = items.length ? `${cursor + 1} of ${items.length}` : "0 of 0";
    view.status.textContent = waiting.size ? `saving ${waiting.size}` : "all saved";
    if (!item) {
      view.ask.textContent = "Nothing is flagged here: there is nothing to read.";
    } else {
      const verdict = done.get(item.request_id);
      view.where.textContent = [item.feature_id, item.category, item.at].filter(Boolean).join(", ");
      put(view.question, item.user_input);
      put(view.answer, item.system_output);
      view.ask.textContent = finished
        ? `All ${items.length} are read. u undoes the last, the arrows go back.`
        : "Does this answer deserve the flag?";
      view.judge.textContent = verdict && !finished ? judged(item) : "";
      const note = notes.get(item.request_id) ?? verdict?.note ?? "";
      if (view.note.value !== note) view.note.value = note;
      for (const button of view.buttons) {
        button.setAttribute("aria-pressed", String(verdict?.verdict === button.dataset.verdict));
      }
    }
    for (const button of view.buttons) button.disabled = !item || finished;
    view.note.disabled = !item;
    showStrip();
  }

  function put(place, text) {
    const known = text !== null && text !== undefined && text !== "";
    place.classList.toggle("lm-absent", !known);
    const words = known ? text : "(no text in the log)";
    if (place.textContent !== words) {
      place.textContent = words;
      place.scrollTop = 0;
    }
  }

  function judged(item) {
    const score = item.quality_score === null ? "no score" : `score ${item.quality_score}`;
    return ["The judge: " + score, item.flag_reason, item.model_id].filter(Boolean).join(" · ");
  }

  function showStrip() {
    const numbers = CHOICES.map(({ verdict, words }) => {
      const count = items.filter((item) => done.get(item.request_id)?.verdict === verdict).length;
      return `${count} ${words}`;
    });
    const marks = items.map((item, index) => {
      const choice = CHOICES.find(({ verdict }) => verdict === done.get(item.request_id)?.verdict);
      return element("span", index === cursor ? "lm-here" : "", choice ? choice.mark : OPEN);
    });
    view.strip.replaceChildren(...marks);
    view.count.textContent = numbers.join(", ");
    view.strip.setAttribute("aria-label", `verdicts so far: ${numbers.join(", ")}`);
  }

  function write(id, verdict, note) {
    seq += 1;
    waiting.add(seq);
    if (verdict) done.set(id, { verdict, note });
    else done.delete(id);
    model.send({ kind: "put", id, verdict, note, seq, session });
  }

  function decide(verdict) {
    const item = current();
    if (!item || finished) return;
    const id = item.request_id;
    const before = done.get(id);
    undo.push({ id, before });
    write(id, verdict, notes.get(id) ?? before?.note ?? null);
    notes.delete(id);
    forward();
    show();
  }

  function forward() {
    const order = [...items.keys()];
    const next = [...order.slice(cursor + 1), ...order.slice(0, cursor)].find(open);
    if (next === undefined) finished = true;
    else cursor = next;
  }

  function takeBack() {
    const last = undo.pop();
    if (!last) return;
    write(last.id, last.before?.verdict ?? null, last.before?.note ?? null);
    cursor = items.findIndex((item) => item.request_id === last.id);
    finished = false;
    show();
  }

  function move(step) {
    finished = false;
    cursor = Math.min(Math.max(cursor + step, 0), Math.max(items.length - 1, 0));
    show();
  }

  function keepNote() {
    const item = current();
    if (!item) return;
    const id = item.request_id;
    const verdict = done.get(id);
    const note = view.note.value;
    if (!verdict) {
      notes.set(id, note);
    } else if ((verdict.note ?? "") !== note) {
      undo.push({ id, before: verdict });
      write(id, verdict.verdict, note || null);
    }
  }

  function leaveNote() {
    view.root.focus();
    show();
  }

  function toggleKeys() {
    view.keys.hidden = !view.keys.hidden;
    view.help.setAttribute("aria-expanded", String(!view.keys.hidden));
  }

  const actions = {
    ArrowLeft: () => move(-1),
    ArrowRight: () => move(1),
    u: takeBack,
    n: () => view.note.focus(),
    "?": toggleKeys,
  };
  for (const { key, verdict } of CHOICES) actions[key] = () => decide(verdict);

  view.root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // save, copy and the like belong to the page
    event.stopPropagation(); // or the notebook takes the key for its own: dd deletes a cell
    if (event.isComposing) return;
    if (event.target === view.note) {
      if (event.key === "Escape" || event.key === "Enter") leaveNote();
      return;
    }
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    const answers = CHOICES.some(({ key }) => key === event.key);
    if (!(answers && event.repeat)) action(); // a key held down is one verdict
  });
  view.note.addEventListener("change", keepNote);
  view.note.addEventListener("input", () => {
    const item = current();
    if (item && !done.has(item.request_id)) notes.set(item.request_id, view.note.value);
  });
  for (const button of view.buttons) {
    button.addEventListener("click", () => {
      decide(button.dataset.verdict);
      view.root.focus({ preventScroll: true });
    });
  }
  view.help.addEventListener("click", toggleKeys);

  const heard = {
    items(message) {
      items = message.items;
      seq = Math.max(seq, message.seq);
      for (const [id, verdict] of Object.entries(message.done)) if (!done.has(id)) done.set(id, verdict);
      const first = [...items.keys()].find(open);
      finished = items.length > 0 && first === undefined;
      cursor = first ?? Math.max(items.length - 1, 0);
      if (message.torn) trouble(`${message.torn} unfinished line${message.torn > 1 ? "s" : ""} in the file skipped.`);
      if (!isTyping(document.activeElement)) view.root.focus({ preventScroll: true });
    },
    saved(message) {
      seq = Math.max(seq, message.highest);
      if (message.session === session) waiting.delete(message.seq);
      else if (message.verdict) done.set(message.id, { verdict: message.verdict, note: message.note });
      else done.delete(message.id);
    },
    failed(message) {
      if (message.session === session) trouble(`Not saved: ${message.error}`);
    },
  };

  function trouble(words) {
    view.trouble.textContent = words;
    view.trouble.hidden = false;
  }

  function hear(message) {
    heard[message.kind]?.(message);
    show();
  }

  model.on("msg:custom", hear);
  el.replaceChildren(view.root);
  show();
  model.send({ kind: "hello" });
  return () => model.off("msg:custom", hear);
}

function isTyping(active) {
  return Boolean(active?.closest("input, textarea, select, [contenteditable=true], .cm-editor"));
}

export default { render };
