"use strict";
// Everything that people or models wrote is put in as text.

const element = (id) => document.getElementById(id);
const turns = element("turns");
const question = element("question");
const say = (words) => { element("status").textContent = words; };

const count = () => turns.querySelectorAll(".turn").length;

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Form-Token": turns.dataset.token },
    body: JSON.stringify({ turns: count(), ...body }),
  }).catch(() => { throw new Error("rlhfkit chat does not answer: look at its terminal"); });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `status ${answer.status}`);
  return answer;
}

function fail(error) {
  element("error").textContent = error.message;
  element("error").hidden = false;
  element("error").scrollIntoView({ block: "nearest" });
}

async function attempt(work) {
  element("error").hidden = true;
  try {
    await work();
  } catch (error) {
    fail(error);
  }
}

// A question and its answers

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function show(turn, part) {
  const cards = [...turn.querySelectorAll(".answer")];
  const writing = part.finished ? -1 : part.answers.findLastIndex((text) => text);
  cards.forEach((card, place) => {
    card.querySelector(".text").textContent = part.answers[place];
    card.classList.toggle("writing", place === writing);
    if (part.finished) {
      card.querySelector(".cut").hidden = part.finished[place];
      card.querySelector(".vote").hidden = !part.votable[place];
    }
  });
  if (part.finished) turn.querySelector(".same").hidden = cards.length < 2 || part.votable.includes(true);
}

function busy(writing) {
  element("send").hidden = writing;
  element("stop").hidden = !writing;
}

async function ask() {
  const text = question.value.trim();
  if (!text) return;
  const turn = element("turn").content.cloneNode(true).firstElementChild;
  turn.querySelector(".message .text").textContent = text;
  let complete = false;
  busy(true);
  try {
    const answer = await post("/ask", { question: text });
    question.value = "";
    turns.append(turn);
    turns.querySelectorAll(".turn:not(:last-child) .vote").forEach((button) => { button.hidden = true; });
    turn.scrollIntoView({ block: "start" });
    for await (const part of lines(answer)) {
      if (part.error) throw new Error(part.error);
      show(turn, part);
      complete = Boolean(part.finished);
    }
    if (!complete) throw new Error("rlhfkit chat does not answer: look at its terminal");
    say("All have answered.");
  } catch (error) {
    turn.remove();
    if (!question.value) question.value = text;
    throw error;
  } finally {
    busy(false);
    question.focus();
  }
}

async function vote(button) {
  await post("/vote", { best: Number(button.value) });
  const turn = button.closest(".turn");
  turn.querySelectorAll(".vote").forEach((one) => { one.hidden = true; });
  button.closest(".answer").classList.add("voted");
  button.closest(".answer").querySelector(".kept").hidden = false;
  say("Your vote is kept.");
  question.focus();
}

async function set(more) {
  const temperature = Number(element("temperature").value);
  await post("/settings", { temperature, system: element("system").value, ...more });
  location.reload();
}

// Keys and buttons

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!element("send").hidden) attempt(ask);
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    element("ask").requestSubmit();
  }
});
turns.addEventListener("click", (event) => {
  const button = event.target.closest(".vote");
  if (button) attempt(() => vote(button));
});
element("stop").addEventListener("click", () => attempt(() => post("/stop", {})));
element("clear").addEventListener("click", () => attempt(() => set({ clear: true })));
element("open-settings").addEventListener("click", () => element("settings").showModal());
element("settings").addEventListener("close", () => {
  if (element("settings").returnValue === "set") attempt(() => set({}));
});
turns.lastElementChild?.scrollIntoView({ block: "start" });
