/* Small help for every page: figures with sliders get a play button, categories get buttons, questions with choices get
   radio buttons, and print opens what is folded. Without this script everything is still there to be moved and opened by
   hand. */
for (const figure of document.querySelectorAll("figure.interactive")) {
  const labels = JSON.parse(figure.dataset.labels);
  figure.querySelectorAll('input[type="range"]').forEach((slider, i) => {
    const to = (value) => { slider.value = value; slider.dispatchEvent(new Event("input")); };
    const button = (text, name) => Object.assign(document.createElement("button"), { type: "button", textContent: text, title: name });
    if (labels[i].some((label) => Number.isNaN(Number(label)))) { // categories have no order to slide along
      const choices = labels[i].map((label, value) => {
        const choice = button(label, "");
        choice.addEventListener("click", () => { to(value); mark(); });
        return choice;
      });
      const mark = () => choices.forEach((choice, value) => choice.setAttribute("aria-pressed", String(value === Number(slider.value))));
      slider.hidden = slider.nextElementSibling.hidden = true;
      slider.nextElementSibling.after(...choices); // the slider writes into the element next to it
      mark();
    } else if (labels[i].length > 3) {
      const play = button("▶", "Play"), stop = () => { clearInterval(play.running); play.running = 0; play.textContent = "▶"; play.title = "Play"; };
      play.setAttribute("aria-label", "Play");
      play.addEventListener("click", () => {
        if (play.running) return stop();
        if (slider.value === slider.max) to(0);
        [play.textContent, play.title] = ["❚❚", "Stop"];
        play.running = setInterval(() => {
          to(Number(slider.value) + 1);
          if (slider.value === slider.max) stop();
        }, 700);
      });
      slider.before(play);
    }
  });
}
/* A question is a fold with choices "(a) … (b) …" in its summary, or in a list before it, whose answer begins with one of
   them. Choosing opens the answer. What was chosen is kept in this browser. */
document.querySelectorAll(".bd-article details").forEach((fold, number) => {
  const summary = fold.querySelector("summary"), letter = /(?:^|\s)\(([a-e])\)\s+/;
  const right = fold.querySelector("p")?.textContent.match(/^\s*\(([a-e])\)/)?.[1];
  const before = fold.previousElementSibling, list = before?.matches("ul") && letter.test(before.textContent.trim()) && before;
  const items = list && Array.from(list.children, (item) => item.innerHTML.replace(/<\/?p>/g, "").trim()).join(" ");
  const [question, ...parts] = (items || summary.innerHTML).split(letter);
  if (!right || parts.length < 4) return;
  const field = Object.assign(document.createElement("fieldset"), { className: "quiz" }), verdict = document.createElement("p");
  field.innerHTML = `<legend>${list ? list.previousElementSibling.innerHTML : question}</legend>`;
  for (let i = 0; i < parts.length; i += 2) {
    const words = `(${parts[i]}) ${parts[i + 1].replace(/[,;?.]$/, "")}`;
    field.innerHTML += `<label><input type="radio" name="quiz-${number}" value="${parts[i]}"> <span>${words}</span></label>`;
  }
  if (list) list.previousElementSibling.remove(), list.remove();
  fold.replaceWith(field), field.append(verdict, fold), verdict.setAttribute("role", "status"), (summary.textContent = "Answer");
  const key = `quiz ${location.pathname} ${number}`, choice = (name) => field.querySelector(`input[value="${name}"]`);
  const judge = (name) => { verdict.textContent = name === right ? `✓ (${name}) is right.` : `✗ (${name}) is not right.`; };
  field.addEventListener("change", ({ target }) => {
    judge(target.value), (fold.open = true);
    try { localStorage.setItem(key, target.value); } catch { /* a browser without storage forgets */ }
  });
  try {
    const kept = localStorage.getItem(key);
    if (choice(kept)) (choice(kept).checked = true), judge(kept);
  } catch { /* the same */ }
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => { fold.open = true; }));
