"use strict";
// The form's own controls are the state: a draft is what they hold, and undo puts an earlier draft back.

const form = document.getElementById("judgement");
const answers = [...form.querySelectorAll(".answer")];
const kind = form.dataset.kind;
const draftName = `draft ${form.dataset.draft}`;
let undone = []; // earlier drafts
let step = kind === "full" ? 0 : answers.length; // an answer to rate, or behind the last one all to rank
let mine = 0; // the answer marked last
let seconds = 0;
let lastActive = Date.now();
let saved = draft();

const element = (id) => document.getElementById(id);
const say = (words) => { element("status").textContent = words; };
const letter = (place) => answers[place].dataset.letter;
const ranking = () => step === answers.length;
const value = (name) => form.querySelector(`[name="${name}"]:checked`)?.value;
const ranks = () => kind === "pairs"
  ? (value("better") ?? ",").split(",").map(Number)
  : answers.map((_, place) => Number(value(`rank-${place}`) ?? 0));

// Drafts

function draft() {
  return JSON.stringify([...new FormData(form)]);
}

function putBack(text, notes = true) {
  const held = JSON.parse(text);
  for (const input of form.querySelectorAll("input")) {
    input.checked = held.some(([name, one]) => name === input.name && one === input.value);
  }
  for (const area of notes ? form.querySelectorAll("textarea") : []) {
    area.value = held.find(([name]) => name === area.name)?.[1] ?? "";
  }
  saved = draft();
  show();
}

function keep() {
  try {
    localStorage.setItem(draftName, JSON.stringify({ form: saved, undone: undone.slice(-50), step, seconds }));
  } catch { /* private windows may refuse: the page works on without drafts */ }
}

function changed() {
  const now = draft();
  if (now === saved) return;
  undone.push(saved);
  saved = now;
  keep();
  show();
}

function restore(text) {
  if (!text) return;
  const kept = JSON.parse(text);
  step = Math.min(kept.step, answers.length);
  seconds = Math.max(seconds, kept.seconds);
  undone = kept.undone;
  putBack(kept.form);
}

// What is seen

function show() {
  form.dataset.step = ranking() ? "rank" : "rate";
  answers.forEach((answer, place) => {
    answer.hidden = !ranking() && place !== step;
    const rating = answer.querySelector(".rating");
    if (rating) rating.hidden = ranking();
    const rank = answer.querySelector(".rank");
    if (rank) rank.hidden = !ranking();
  });
  form.querySelector(".notes.last").hidden = !ranking();
  element("order").hidden = !ranking();
  element("order").textContent = order();
  element("step").textContent = heading();
  element("digits").textContent = ranking()
    ? (kind === "pairs" ? "1, 2 or 0" : `1-${answers.length} rank, equal digits tie`)
    : "1-7 overall";
  element("submit-words").textContent = ranking() ? "Submit" : "Next";
  element("previous").hidden = kind !== "full" || step === 0;
  element("undo").disabled = undone.length === 0;
}

function heading() {
  if (!ranking()) return `Step ${step + 1} of ${answers.length + 1}: rate answer ${letter(step)} by itself`;
  const title = kind === "pairs" ? "Compare the two answers" : "Rank all answers; equal ones share a rank";
  return kind === "full" ? `Step ${answers.length + 1} of ${answers.length + 1}: ${title.toLowerCase()}` : title;
}

function order() {
  const given = ranks();
  const groups = [...new Set(given.filter(Boolean))].sort((a, b) => a - b)
    .map((rank) => given.flatMap((one, place) => (one === rank ? [letter(place)] : [])).join(" = "));
  const missing = given.flatMap((one, place) => (one ? [] : [letter(place)]));
  return groups.join(" > ") + (missing.length ? `${groups.length ? "; " : ""}still to rank: ${missing.join(", ")}` : "");
}

// Moving about

function marked() {
  return ranking() ? mine : step;
}

function mark(place, scroll = true) {
  const answer = answers[Math.min(Math.max(place, 0), answers.length - 1)];
  answer.focus({ preventScroll: true });
  if (scroll) answer.scrollIntoView({ block: "nearest" });
}

function go(to) {
  step = Math.min(Math.max(to, 0), answers.length);
  keep();
  show();
  window.scrollTo(0, 0);
  mark(ranking() ? 0 : step, false);
  say(heading());
}

function check(name, one) {
  const input = form.querySelector(`[name="${name}"][value="${one}"]`);
  if (!input) return false;
  input.checked = true;
  changed();
  return true;
}

function digit(number) {
  if (kind === "pairs") {
    const choice = ["1,1", "1,2", "2,1"][number];
    if (choice && check("better", choice)) say(["About equal", "A is better", "B is better"][number]);
  } else if (!ranking()) {
    if (check(`overall-${step}`, number)) say(`Answer ${letter(step)} overall ${number}`);
  } else {
    const place = marked();
    if (!check(`rank-${place}`, number || 10)) return;
    say(`Answer ${letter(place)} has rank ${number || 10}`);
    const left = ranks().map((rank, index) => (rank ? -1 : index)).filter((index) => index >= 0);
    if (left.length) mark(left.find((index) => index > place) ?? left[0]);
  }
}

function undo() {
  if (!undone.length) return;
  putBack(undone.pop(), false); // what was written meanwhile stays
  keep();
  say("Undone");
}

// Sending

function refuse(reason) {
  const alert = element("error");
  alert.textContent = reason;
  alert.hidden = false;
  alert.scrollIntoView({ block: "nearest" });
}

function next() {
  if (!ranking()) {
    if (!value(`overall-${step}`)) return refuse(`Rate answer ${letter(step)} from 1 to 7 first.`);
    element("error").hidden = true;
    return go(step + 1);
  }
  const unrated = kind === "full" ? answers.findIndex((_, place) => !value(`overall-${place}`)) : -1;
  if (unrated >= 0) {
    go(unrated);
    return refuse(`Rate answer ${letter(unrated)} from 1 to 7 first.`);
  }
  const given = ranks();
  if (given.some((rank) => !rank)) {
    mark(given.findIndex((rank) => !rank));
    return refuse(kind === "pairs" ? "Say which answer is better, or that they are equal." : "Give every answer a rank first.");
  }
  return send({ ranks: given, ratings: kind === "full" ? answers.map((_, place) => rating(place)) : [] });
}

function rating(place) {
  const flags = [...form.querySelectorAll(`[name="flags-${place}"]:checked`)].map((input) => input.value);
  return { overall: Number(value(`overall-${place}`)), flags, notes: form.elements[`notes-${place}`].value };
}

async function send(said) {
  element("submit").disabled = true;
  const body = { revision: Number(form.dataset.revision), notes: form.elements.notes.value, seconds: Math.max(seconds, 1), ...said };
  try {
    const answer = await fetch(form.dataset.url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Form-Token": form.dataset.token },
      body: JSON.stringify(body),
    });
    const told = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
    if (!answer.ok) throw new Error(`${told.error}. What you entered stays in this browser.`);
    localStorage.removeItem(draftName);
    location.assign("/");
  } catch (error) {
    element("submit").disabled = false;
    refuse(error instanceof TypeError
      ? "The server does not answer. What you entered stays in this browser: try again when it is back."
      : error.message);
  }
}

function open(id) {
  element(id).showModal();
}

// Keys

const keys = {
  j: () => (ranking() ? mark(marked() + 1) : go(Math.min(step + 1, answers.length - 1))),
  k: () => (ranking() ? mark(marked() - 1) : go(step - 1)),
  u: undo,
  s: () => open("skip"),
  n: () => (ranking() ? form.elements.notes : form.elements[`notes-${step}`]).focus(),
  p: () => kind === "full" && go(step - 1),
  b: () => location.assign("/history"),
  "?": () => open("guidelines"),
};

function toggleFlag(key) {
  const input = !ranking() && answers[step].querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!input) return false;
  input.checked = !input.checked;
  changed();
  say(`${input.closest("label").textContent.trim()}: ${input.checked ? "yes" : "no"}`);
  return true;
}

// The character, or where a keyboard has other letters or digits only with shift, what stands there on most.
function pressed(event) {
  const place = event.shiftKey ? null : event.code.match(/^(?:Digit|Key)([0-9A-Z])$/);
  const known = /^[a-z0-9?]$/i.test(event.key) || event.key.length > 1;
  return (known || !place ? event.key : place[1]).replace(/^[A-Z]$/, (key) => key.toLowerCase());
}

document.addEventListener("keydown", (event) => {
  const key = pressed(event);
  lastActive = Date.now();
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog) {
    const button = /^[1-9]$/.test(key) && dialog.id === "skip" && dialog.querySelectorAll("button")[key - 1];
    if (button) { event.preventDefault(); button.click(); }
    return;
  }
  if (event.target.tagName === "TEXTAREA") {
    if (event.key === "Escape") mark(marked());
    return;
  }
  if (event.key === "Enter") {
    if (event.target.closest("button, a")) return;
    event.preventDefault();
    if (!event.repeat && !element("submit").disabled) next();
  } else if (/^[0-9]$/.test(key)) {
    event.preventDefault();
    digit(Number(key));
  } else if (keys[key] || toggleFlag(key)) {
    event.preventDefault();
    keys[key]?.();
  }
});

// Pointers, other tabs, time

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", changed);
form.addEventListener("focusin", (event) => {
  const place = answers.indexOf(event.target.closest(".answer"));
  if (place >= 0) mine = place;
});
form.addEventListener("input", (event) => { if (event.target.tagName === "TEXTAREA") { saved = draft(); keep(); } });
element("undo").addEventListener("click", undo);
element("submit").addEventListener("click", next);
element("previous").addEventListener("click", keys.p);
element("open-skip").addEventListener("click", keys.s);
element("open-guidelines").addEventListener("click", keys["?"]);
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    dialog.close();
    if (button.value) send({ skipped: button.value });
  });
}
window.addEventListener("storage", (event) => { if (event.key === draftName) restore(event.newValue); });
document.addEventListener("pointerdown", () => { lastActive = Date.now(); });
setInterval(() => {
  if (document.hidden || Date.now() - lastActive > 60000) return;
  seconds += 1;
  if (seconds % 5 === 0) keep();
}, 1000);

try { restore(localStorage.getItem(draftName)); } catch { /* a draft of another version */ }
show();
mark(ranking() ? 0 : step, false);
