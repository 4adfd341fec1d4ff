/* The two models on the first page. Nothing is loaded before something is pressed or moved: then model.js and the
   weights come as scripts, which works from a disk too. */
{
  const root = document.querySelector(".live");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const nextFrame = () => new Promise((resolve) => setTimeout(resolve, 0));
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  const scripts = {};
  const load = (path) => (scripts[path] ??= new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: root.dataset.static + path });
    script.onload = resolve;
    script.onerror = () => { delete scripts[path]; reject(new Error("The model could not be loaded. Try again.")); };
    document.head.append(script);
  }));

  /** Of the works of a box only the newest goes on; what fails is said in its status line. */
  function oneAtATime(box) {
    let turn = 0;
    const say = (text) => { box.querySelector(".live-status").textContent = text; };
    return (work) => () => {
      const mine = ++turn;
      return work(() => mine === turn, say).catch((error) => say(error.message));
    };
  }

  // ------------------------------------------------------------------------------------------ language
  {
    const box = root.querySelector(".live-text"), find = (selector) => box.querySelector(selector);
    const [prompt, step, temperature] = ["#live-prompt", "#live-step", "#live-temperature"].map(find);
    const moments = JSON.parse(step.dataset.moments), models = {};
    const alone = oneAtATime(box);
    let seed = 0;

    /** The weights as they are before the first step: random embedding and copy head, blocks that add nothing. */
    function untrained(file) {
      const model = new TextModel(file), random = randomNumbers(7);
      for (const [name, weight] of Object.entries(model.weights)) {
        if (/^(embedding|copy\.\w+)\.weight$/.test(name)) weight.data = weight.data.map(() => 0.02 * gaussian(random));
        else if (/(attention\.output|down)\.weight$/.test(name)) weight.data.fill(0);
        else if (/gain$/.test(name)) weight.fill(name.startsWith("copy.") ? 8 ** 0.5 : 1);
        else if (name === "copy.gate") weight.fill(0);
        else if (name === "copy.gate_bias") weight[0] = -3;
      }
      return model;
    }

    async function modelAfter(steps) {
      const name = `text-${steps || moments.at(-1).step}`;
      await Promise.all([load("model.js"), load(`web/${name}.js`)]);
      const file = blueberryModels[name];
      return (models[steps] ??= steps ? new TextModel(file) : untrained(file));
    }

    const write = alone(async (isCurrent, say) => {
      const moment = moments[step.value], shown = find(".new"), progress = find("progress");
      find(".given").textContent = prompt.value;
      shown.textContent = "";
      progress.hidden = Boolean(models[moment.step]);
      if (!progress.hidden) say("Loading …");
      const model = await modelAfter(moment.step).finally(() => { progress.hidden = true; });
      if (!isCurrent()) return;
      say("Writing …");
      const settings = { temperature: Number(temperature.value), count: 160, seed };
      const ids = model.write(prompt.value, settings), decoder = new TextDecoder();
      let text = "", count = 0, spent = 0, next = {};
      while (!next.done) {
        const start = performance.now();
        while (!(next = ids.next()).done) {
          text += decoder.decode(model.tokenizer.bytes(next.value), { stream: true });
          count += 1;
          if (!calm && performance.now() - start > 15) break;
        }
        spent += performance.now() - start;
        shown.textContent = text;
        shown.parentElement.scrollTop = shown.parentElement.scrollHeight;
        await nextFrame();
        if (!isCurrent()) return;
      }
      const rate = Math.round((1000 * model.position) / Math.max(spent, 1)).toLocaleString("en");
      say(`${count} tokens, ${rate} per second on this machine. Loss at this moment: ${moment.loss} nats per token.`);
    });

    const name = () => {
      step.nextElementSibling.textContent = moments[step.value].words;
      step.setAttribute("aria-valuetext", moments[step.value].words);
      temperature.nextElementSibling.textContent = Number(temperature.value).toFixed(1);
    };
    box.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); write(); });
    find(".again").addEventListener("click", () => { seed += 1; write(); });
    for (const slider of [step, temperature]) {
      slider.addEventListener("input", name);
      slider.addEventListener("change", write);
    }
    prompt.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) write();
    });
    name();
  }

  // -------------------------------------------------------------------------------------------- digits
  {
    const box = root.querySelector(".live-digit"), picture = box.querySelector("svg"), time = box.querySelector("input");
    const alone = oneAtATime(box), classes = [...box.querySelectorAll(".live-classes button")];
    let label = classes.findIndex((button) => button.ariaPressed === "true"), seed = 0, model, frames, drawn;

    function show(index) {
      const t = (index / time.max).toFixed(2), words = t === "1.00" ? "drawn by the model" : `on its way from noise, t = ${t}`;
      frames[index].forEach((value, i) => {
        picture.children[i].setAttribute("fill-opacity", Math.min(1, Math.max(0, (value + 1) / 2)).toFixed(3));
      });
      time.value = index;
      time.nextElementSibling.textContent = `t = ${t}`;
      time.setAttribute("aria-valuetext", `t = ${t}`);
      picture.setAttribute("aria-label", `A ${label}, ${words}`);
    }

    async function prepare(say) {
      if (!model) say("Loading …");
      await Promise.all([load("model.js"), load("web/digits.js")]);
      model ??= new DigitModel(blueberryModels.digits);
      const wanted = `${label} ${seed}`;
      if (drawn === wanted) return;
      const start = performance.now();
      frames = [...model.draw(label, { steps: Number(time.max), seed })];
      drawn = wanted;
      say(`${2 * time.max} evaluations of the network in ${Math.round(performance.now() - start)} ms. Move the time.`);
    }

    const draw = alone(async (isCurrent, say) => {
      await prepare(say);
      for (let index = calm ? frames.length - 1 : 0; index < frames.length && isCurrent(); index++) {
        show(index);
        await pause(40);
      }
    });
    const move = alone(async (isCurrent, say) => {
      const index = Number(time.value);
      await prepare(say);
      if (isCurrent()) show(index);
    });

    classes.forEach((button, digit) => button.addEventListener("click", () => {
      classes.forEach((other) => { other.ariaPressed = String(other === button); });
      label = digit;
      draw();
    }));
    box.querySelector(".again").addEventListener("click", () => { seed += 1; draw(); });
    time.addEventListener("input", move);
    box.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  }
}
