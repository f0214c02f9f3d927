// The review widget in the browser. It holds the answers, the place in them and the verdicts not yet on the disk;
// the kernel only writes. Logged text is set with textContent, nowhere else.

const CHOICES = [
  { key: "1", verdict: "real", words: "real", mark: "×" },
  { key: "2", verdict: "false_positive", words: "false positive", mark: "○" },
  { key: "3", verdict: "unsure", words: "unsure", mark: "?" },
];
const OPEN = "·";
const SCORES = [1, 2, 3, 4, 5];
const KEYS = [
  ["1", "the flag is deserved, the answer is bad"],
  ["2", "false positive, the answer is fine"],
  ["3", "unsure"],
  ["Shift+1 … 5", "your own score, before or after the verdict; the same key again takes it back"],
  ["← →", "move without a verdict"],
  ["u", "undo the last verdict"],
  ["n", "write a note; Escape leaves it"],
  ["e", "write what the right answer would be; Escape leaves it"],
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
  const root = element("div", "lm-review", "", {
    tabindex: "0", role: "group", "aria-label": "Review of flagged answers", "data-decided": "open",
  });
  const parts = {
    place: element("b", "lm-place"),
    where: element("span", "lm-where"),
    status: element("span", "lm-status", "all saved", { role: "status" }),
    question: element("pre", "lm-text lm-question", "", { tabindex: "0", role: "region", "aria-label": "Question" }),
    answer: element("pre", "lm-text lm-answer", "", { tabindex: "0", role: "region", "aria-label": "Answer" }),
    ask: element("p", "lm-ask"),
    judge: element("p", "lm-judge"),
    decided: element("p", "lm-decided"),
    spoken: element("p", "lm-spoken", "", { "aria-live": "polite" }),
    aside: element("div", "lm-aside"),
    note: element("input", "lm-field lm-note", "", {
      type: "text", id: `lm-note-${session}`, maxlength: "2000", autocomplete: "off",
    }),
    expected: element("textarea", "lm-field lm-expected", "", {
      id: `lm-expected-${session}`, maxlength: "20000", rows: "2",
    }),
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
  parts.scores = SCORES.map((score) =>
    element("button", "lm-score", String(score), {
      type: "button", "aria-pressed": "false", "aria-label": `own score ${score} of 5`, "data-score": String(score),
    }),
  );
  for (const [key, words] of KEYS) parts.keys.append(element("dt", "", key), element("dd", "", words));
  parts.keys.hidden = true;
  parts.trouble.hidden = true;
  parts.aside.hidden = true;
  const row = (className, ...children) => {
    const made = element("div", className);
    made.append(...children);
    return made;
  };
  const label = (words, field) => element("label", "lm-field-label", words, { for: field.id });
  const scores = row("lm-scores", element("span", "lm-field-label", "own score (Shift+1 to 5)"), ...parts.scores);
  scores.setAttribute("role", "group");
  scores.setAttribute("aria-label", "Own score");
  const main = row(
    "lm-main",
    element("div", "lm-label", "Question"), parts.question,
    element("div", "lm-label", "Answer"), parts.answer,
    parts.ask,
    row("lm-choices", ...parts.buttons),
    scores,
    row("lm-fields", label("note (n)", parts.note), parts.note, label("right answer (e)", parts.expected), parts.expected),
    parts.judge, parts.decided,
  );
  root.append(
    row("lm-head", parts.place, parts.where, parts.status),
    row("lm-body", main, parts.aside),
    row("lm-foot", parts.strip, parts.count, parts.help),
    parts.keys, parts.trouble, parts.spoken,
  );
  return { root, ...parts };
}

// One part beside the answer: a heading that folds its text away, open where it is short of other things to read.
function fold(title, open, ...texts) {
  const made = element("details", "lm-fold");
  made.open = open;
  made.append(element("summary", "", title), ...texts);
  return made;
}

function passage(text, label) {
  return element("pre", "lm-text lm-beside", text, { tabindex: "0", role: "region", "aria-label": label });
}

/** Whether the page is light or dark where the widget lies; "" where no colour is set. marimo tells its theme in no other way. */
function ground(el) {
  for (let at = el; at; at = at.parentElement ?? at.getRootNode().host) {
    const colour = getComputedStyle(at).backgroundColor.match(/^rgba?\((.+)\)$/);
    const [red, green, blue, alpha = 1] = colour ? colour[1].split(/[\s,/]+/).map(Number) : [0, 0, 0, 0];
    if (alpha > 0.5) return 0.3 * red + 0.59 * green + 0.11 * blue > 127 ? "light" : "dark";
  }
  return "";
}

function render({ model, el }) {
  const session = Math.random().toString(36).slice(2, 12);
  const view = build(session);
  const done = new Map(); // request id -> { verdict, note, score, expected }
  const drafts = new Map(); // request id -> what is typed and not yet part of a verdict: { note, score, expected }
  const waiting = new Map(); // seq of the verdicts that are not yet acknowledged -> request id
  const undo = []; // { id, before }
  let items = [];
  let rubric = null;
  let cursor = 0;
  let seq = 0;
  let finished = false; // all read: no key answers until the reader moves
  let beside = null; // the id whose context is shown

  const open = (index) => !done.has(items[index].request_id);
  const current = () => items[cursor];
  const wordsOf = ({ note, score, expected }) => ({ note, score, expected });
  const said = (id) => ({ note: null, score: null, expected: null, ...done.get(id), ...drafts.get(id) });

  function show() {
    const item = current();
    view.root.dataset.requestId = item ? item.request_id : "";
    view.place.textContent = items.length ? `${cursor + 1} of ${items.length}` : "0 of 0";
    view.status.textContent = waiting.size ? `saving ${waiting.size}` : "all saved";
    if (!item) {
      view.ask.textContent = "Nothing is flagged here: there is nothing to read.";
    } else {
      const verdict = done.get(item.request_id);
      const { note, score, expected } = said(item.request_id);
      view.where.textContent = [item.feature_id, item.category, item.at].filter(Boolean).join(", ");
      put(view.question, item.user_input);
      put(view.answer, item.system_output);
      view.ask.textContent = finished
        ? `All ${items.length} are read. u undoes the last, the arrows go back.`
        : "Does this answer deserve the flag?";
      view.judge.textContent = verdict && !finished ? judged(item) : "";
      if (view.note.value !== (note ?? "")) view.note.value = note ?? "";
      if (view.expected.value !== (expected ?? "")) view.expected.value = expected ?? "";
      for (const button of view.buttons) {
        button.setAttribute("aria-pressed", String(verdict?.verdict === button.dataset.verdict));
      }
      for (const button of view.scores) button.setAttribute("aria-pressed", String(Number(button.dataset.score) === score));
      if (beside !== item.request_id) showBeside(item);
    }
    for (const button of view.buttons) button.disabled = !item || finished;
    for (const control of [...view.scores, view.note, view.expected]) control.disabled = !item;
    showStrip();
  }

  function showBeside(item) {
    beside = item.request_id;
    const parts = [];
    if (rubric) parts.push(fold("Rubric", true, passage(rubric, "Rubric")));
    for (const [name, text] of item.shown ?? []) parts.push(fold(name, true, passage(text, name)));
    if (item.turns?.length) {
      const texts = item.turns.map(({ at, user_input, system_output }) =>
        passage(`${at}\nuser: ${user_input ?? "(no text)"}\nanswer: ${system_output ?? "(no text)"}`, `Turn of ${at}`),
      );
      const more = item.earlier > item.turns.length ? `, the last ${item.turns.length} shown` : "";
      parts.push(fold(`Earlier in this session (${item.earlier}${more})`, true, ...texts));
    }
    view.aside.replaceChildren(...parts);
    view.aside.hidden = !parts.length;
    view.root.classList.toggle("lm-wide", parts.length > 0);
    view.spoken.textContent = `${view.place.textContent}. ${(item.user_input ?? "no text").slice(0, 200)}`;
  }

  function decided(message) {
    if (!message.decided) return;
    view.root.dataset.decided = message.decided;
    view.decided.textContent = items.length ? message.decided_words : "";
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

  function write(id, line) {
    seq += 1;
    waiting.set(seq, id);
    if (line?.verdict) done.set(id, line);
    else done.delete(id);
    const nothing = { verdict: null, note: null, score: null, expected: null };
    model.send({ kind: "put", id, ...nothing, ...line, seq, session });
  }

  function decide(verdict) {
    const item = current();
    if (!item || finished) return;
    const id = item.request_id;
    undo.push({ id, before: done.get(id) });
    write(id, { ...said(id), verdict });
    drafts.delete(id);
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
    if (!last.before) drafts.set(last.id, wordsOf(done.get(last.id))); // what was written is not lost
    write(last.id, last.before);
    cursor = items.findIndex((item) => item.request_id === last.id);
    finished = false;
    show();
  }

  function move(step) {
    finished = false;
    cursor = Math.min(Math.max(cursor + step, 0), Math.max(items.length - 1, 0));
    show();
  }

  // What is being typed is kept from the first letter on: a message of the kernel may come between two keys.
  function draft(name, value) {
    const id = current()?.request_id;
    if (id !== undefined) drafts.set(id, { ...drafts.get(id), [name]: value });
  }

  // A note, a score or the right answer: part of the verdict where there is one, else kept until there is.
  function keep(name, value) {
    draft(name, value);
    const id = current()?.request_id;
    const before = done.get(id);
    if (!before) return;
    delete drafts.get(id)[name];
    if ((before[name] ?? null) !== value) {
      undo.push({ id, before });
      write(id, { ...before, [name]: value });
    }
  }

  function score(value) {
    const item = current();
    if (!item) return;
    keep("score", said(item.request_id).score === value ? null : value);
    show();
  }

  function leave() {
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
    e: () => view.expected.focus(),
    "?": toggleKeys,
  };

  // Digits by the place of the key: on some keyboards the digits themselves need Shift.
  function digitAction(event) {
    const [, row, place] = /^(Digit|Numpad)(\d)$/.exec(event.code ?? "") ?? [];
    const digit = row === "Digit" || event.key === place ? place : event.code ? null : event.key;
    if (!/^[1-5]$/.test(digit ?? "")) return null;
    if (event.shiftKey) return () => score(Number(digit));
    const choice = CHOICES.find(({ key }) => key === digit);
    return choice ? () => decide(choice.verdict) : null;
  }

  view.root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // save, copy and the like belong to the page
    event.stopPropagation(); // or the notebook takes the key for its own: dd deletes a cell
    if (event.isComposing) return;
    if (event.target === view.note || event.target === view.expected) {
      if (event.key === "Escape" || (event.key === "Enter" && event.target === view.note)) leave();
      return;
    }
    const digit = digitAction(event);
    const action = digit ?? actions[event.key];
    if (!action) return;
    event.preventDefault();
    if (!(digit && event.repeat)) action(); // a key held down is one verdict
  });
  for (const [field, name] of [[view.note, "note"], [view.expected, "expected"]]) {
    field.addEventListener("change", () => keep(name, field.value || null));
    field.addEventListener("input", () => draft(name, field.value || null));
  }
  for (const button of view.scores) button.addEventListener("click", () => score(Number(button.dataset.score)));
  for (const button of view.buttons) {
    button.addEventListener("click", () => {
      decide(button.dataset.verdict);
      view.root.focus({ preventScroll: true });
    });
  }
  view.help.addEventListener("click", toggleKeys);

  const heard = {
    items(message) {
      seq = Math.max(seq, message.seq);
      if (items.length) return; // another view of this widget has asked too: the reader here stays where they are
      items = message.items;
      rubric = message.rubric;
      beside = null;
      for (const [id, verdict] of Object.entries(message.done)) done.set(id, verdict);
      const first = [...items.keys()].find(open);
      finished = items.length > 0 && first === undefined;
      cursor = first ?? Math.max(items.length - 1, 0);
      if (message.torn) trouble(`${message.torn} unfinished line${message.torn > 1 ? "s" : ""} in the file skipped.`);
      decided(message);
      if (!isTyping(document.activeElement)) view.root.focus({ preventScroll: true });
    },
    saved(message) {
      seq = Math.max(seq, message.highest);
      if (message.session === session) waiting.delete(message.seq);
      if (![...waiting.values()].includes(message.id)) stands(message); // else what the reader pressed last is on its way
      decided(message);
    },
    failed(message) {
      if (message.session === session) trouble(`Not saved: ${message.error}`);
    },
  };

  // What the file says of an answer, whichever view of this reader wrote it last.
  function stands({ id, verdict, note, score, expected }) {
    if (verdict) done.set(id, { verdict, note, score, expected });
    else done.delete(id);
  }

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
  requestAnimationFrame(() => { view.root.dataset.ground = ground(el); });
  show();
  model.send({ kind: "hello", session });
  return () => model.off("msg:custom", hear);
}

function isTyping(active) {
  return Boolean(active?.closest("input, textarea, select, [contenteditable=true], .cm-editor"));
}

export default { render };
