// A chart of the explorer in the browser: the picture comes from the kernel, the mark moves here, and the window that it
// stands on is told to the kernel, which sends the answers. Logged text is set with textContent, nowhere else.

function element(tag, className, text = "", attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// The kernel's own drawing, every text in it escaped; parsed apart, and what could act is taken out all the same.
function drawing(text) {
  const drawn = new DOMParser().parseFromString(text, "text/html").querySelector("svg");
  for (const node of drawn.querySelectorAll("script, foreignObject, image, a, animate, set")) node.remove();
  for (const node of [drawn, ...drawn.querySelectorAll("*")]) {
    for (const { name } of [...node.attributes]) if (/^on/i.test(name)) node.removeAttribute(name);
  }
  drawn.setAttribute("aria-hidden", "true"); // the windows are read out one by one instead
  return document.importNode(drawn, true);
}

function render({ model, el }) {
  const root = element("div", "lm-explore", "", { role: "group", "aria-label": "Control chart" });
  const status = element("p", "lm-status", "", { role: "status" });
  const headline = element("p", "lm-headline");
  const rate = element("p", "lm-rate");
  const chart = element("div", "lm-chart", "", {
    role: "slider", tabindex: "0", "aria-label": "Window of the chart", "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0",
  });
  const point = element("p", "lm-point");
  const hint = element("p", "lm-hint", "Click a point, or use the arrow keys, to read its answers.");
  const answers = element("div", "lm-answers");
  root.append(status, headline, rate, chart, hint, point, answers);

  let shown = null; // the chart message
  let at = 0;
  let rings = [];

  function place() {
    for (const [ring, form] of rings) {
      const [x, y] = shown[form].points[at] ?? [0, 0];
      ring.setAttribute("style", `left: ${Number(x)}%; top: ${Number(y)}%`);
      ring.hidden = shown.chosen === null;
    }
    chart.setAttribute("aria-valuenow", String(at));
    chart.setAttribute("aria-valuetext", shown.words[at] ?? "no window");
    point.textContent = shown.chosen === null ? "" : (shown.words[at] ?? "");
  }

  function choose(index) {
    if (!shown?.words.length) return;
    at = Math.min(Math.max(index, 0), shown.words.length - 1);
    shown.chosen = at;
    place();
    model.send({ kind: "choose", window: at });
  }

  const steps = { ArrowLeft: () => at - 1, ArrowRight: () => at + 1, Home: () => 0, End: () => Infinity };
  chart.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    event.preventDefault();
    choose(step());
  });

  function nearest(event, form, frame) {
    const box = frame.getBoundingClientRect();
    const x = (100 * (event.clientX - box.left)) / box.width;
    const away = shown[form].points.map(([px]) => Math.abs(px - x));
    return away.indexOf(Math.min(...away));
  }

  const heard = {
    status(message) {
      status.textContent = message.words;
      root.classList.toggle("lm-trouble", Boolean(message.trouble));
    },
    chart(message) {
      shown = message;
      rings = [];
      headline.textContent = message.headline;
      rate.textContent = message.rate;
      root.dataset.feature = message.feature ?? "";
      root.dataset.metric = message.metric ?? "";
      chart.setAttribute("aria-label", message.title);
      chart.setAttribute("aria-valuemax", String(Math.max(message.words.length - 1, 0)));
      at = message.chosen ?? Math.max(message.words.length - 1, 0);
      const frames = ["wide", "narrow"].map((form) => {
        const frame = element("div", `lm-frame lm-${form}`);
        const ring = element("span", "lm-ring");
        frame.append(drawing(message[form].svg), ring);
        frame.addEventListener("click", (event) => choose(nearest(event, form, frame)));
        rings.push([ring, form]);
        return frame;
      });
      chart.replaceChildren(...frames);
      chart.hidden = hint.hidden = false;
      answers.replaceChildren();
      root.dataset.windows = String(message.words.length);
      place();
    },
    answers(message) {
      const parts = message.rows.map((row) => {
        const one = element("article", "lm-one", "", { "data-request-id": row.request_id });
        one.append(element("p", "lm-where", [row.value, row.at, row.request_id, row.flag_reason].filter(Boolean).join(" · ")));
        for (const [name, text] of [["Question", row.user_input], ["Answer", row.system_output]]) {
          const known = text !== null && text !== "";
          one.append(element("p", "lm-label", name), element("pre", known ? "lm-text" : "lm-text lm-absent", known ? text : "(no text in the log)"));
        }
        return one;
      });
      answers.replaceChildren(element("p", "lm-answers-words", message.words), ...parts);
      root.dataset.window = message.window ?? "";
    },
  };

  const hear = (message) => heard[message.kind]?.(message);
  model.on("msg:custom", hear);
  chart.hidden = hint.hidden = true;
  el.replaceChildren(root);
  model.send({ kind: "hello" });
  return () => model.off("msg:custom", hear);
}

export default { render };
