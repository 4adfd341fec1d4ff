/* Small help for every page: figures with sliders get a play button, categories get buttons, and print opens what is
   folded. Without this script everything is still there to be moved and opened by hand. */
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
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => { fold.open = true; }));
