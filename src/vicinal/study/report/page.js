(() => {
  "use strict";
  const root = document.documentElement;
  const { figures, themes } = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const row = matchMedia("(min-width: 1000px)");
  const button = document.getElementById("theme");
  const hidden = new Set();
  const drawn = new Set();
  let printing = false;

  const mode = () => (printing ? "light" : root.dataset.theme || (dark.matches ? "dark" : "light"));

  // Figures name their colours; the theme in use says what the names mean. Only colour properties are looked up.
  const paint = (value, theme, key) => {
    if (Array.isArray(value)) return value.map((item) => paint(item, theme, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, paint(item, theme, name)]));
    }
    return typeof value === "string" && /color$/.test(key) && Object.hasOwn(theme, value) ? theme[value] : value;
  };

  const draw = (name) => {
    const element = document.getElementById(name);
    const figure = figures[name];
    const { data, layout } = paint({ data: figure.data, layout: figure.layout }, themes[mode()], "");
    let height = figure.height;
    const width = element.clientWidth;
    if (figure.labels && row.matches && !printing && element.closest(".panel").previousElementSibling) {
      layout.yaxis.showticklabels = false;
      layout.margin.l = 14;
    }
    if (figure.aspect) {
      height = Math.min(height, Math.max(320, Math.round(width * figure.aspect)));
      data.forEach((trace, index) => { trace.visible = !hidden.has(index); });
      if (width > 600 && !printing && matchMedia("(hover: hover)").matches) {
        layout.dragmode = "zoom";
        layout.xaxis.fixedrange = layout.yaxis.fixedrange = false;
      }
    }
    element.style.height = `${height}px`;
    Plotly.react(element, data, { ...layout, width, height }, { displayModeBar: false, doubleClick: "reset" });
    drawn.add(name);
  };

  const redraw = () => drawn.forEach(draw);
  const label = () => { button.textContent = mode() === "dark" ? "Light" : "Dark"; };

  const choose = (theme) => {
    root.dataset.theme = theme;
    label();
    redraw();
  };
  if (/^#(dark|light)$/.test(location.hash)) root.dataset.theme = location.hash.slice(1);
  else {
    try {
      const kept = localStorage.getItem("vicinal-theme");
      if (kept === "dark" || kept === "light") root.dataset.theme = kept;
    } catch { /* a page without storage follows the system */ }
  }
  label();
  button.addEventListener("click", () => {
    choose(mode() === "dark" ? "light" : "dark");
    try { localStorage.setItem("vicinal-theme", root.dataset.theme); } catch { /* the choice lasts as long as the page */ }
  });
  dark.addEventListener("change", () => { label(); redraw(); });

  // Figures near the top first, each in its own turn, so that the page answers while it fills.
  const waiting = Object.keys(figures).sort((a, b) => (
    document.getElementById(a).compareDocumentPosition(document.getElementById(b)) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1
  ));
  const next = () => {
    const name = waiting.shift();
    if (name === undefined) return;
    draw(name);
    setTimeout(next, 0);
  };
  next();

  let last = root.clientWidth;
  let timer;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (root.clientWidth !== last && !printing) { last = root.clientWidth; redraw(); }
    }, 120);
  });

  addEventListener("beforeprint", () => {
    printing = true;
    root.classList.add("printing");
    waiting.splice(0).forEach((name) => drawn.add(name));
    redraw();
  });
  addEventListener("afterprint", () => {
    printing = false;
    root.classList.remove("printing");
    redraw();
  });

  document.querySelectorAll("[data-trace]").forEach((entry) => entry.addEventListener("click", () => {
    const index = Number(entry.dataset.trace);
    const shown = hidden.delete(index) || !hidden.add(index);
    entry.setAttribute("aria-pressed", String(shown));
    Plotly.restyle("projection", { visible: shown }, [index]);
  }));

  document.querySelectorAll(".sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    // The first number of a cell; a dash sorts last in either direction.
    const value = (row, place) => {
      const text = row.cells[place].textContent.trim();
      if (!place) return text;
      const found = text.replace(/\u202f/g, "").replace("−", "-").match(/-?\d+(\.\d+)?/);
      return found ? Number(found[0]) : NaN;
    };
    heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : !place;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sign = up ? 1 : -1;
      const rows = [...table.tBodies[0].rows].map((row) => [value(row, place), row]);
      rows.sort(([a], [b]) => {
        if (!place) return sign * a.localeCompare(b, "en", { numeric: true });
        return Number.isNaN(a) - Number.isNaN(b) || sign * (a - b) || 0;
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    }));
  });

  const copy = document.getElementById("copy");
  if (copy) copy.addEventListener("click", async () => {
    const code = document.getElementById("command");
    let done = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      done = true;
    } catch {
      getSelection().selectAllChildren(code);
      done = document.execCommand("copy");
    }
    copy.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { copy.textContent = "Copy"; }, 1600);
  });
})();
