"use strict";
(() => {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = document.getElementById("theme");
  const isDark = () => (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const say = () => theme.setAttribute("aria-pressed", String(isDark()));
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; say(); });
  dark.addEventListener("change", say);
  say();

  // The contents are open beside a wide page, and closed above a narrow one.
  const contents = document.querySelector("details.contents"), narrow = matchMedia("(max-width: 60rem)");
  const fold = () => { contents.open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();

  // Each button of an editor shows or hides it in all figures.
  const buttons = [...document.querySelectorAll("button[data-of]")];
  const drawn = [...document.querySelectorAll("[data-editor]")];
  for (const button of buttons) button.addEventListener("click", () => {
    const editor = button.dataset.of, shown = button.getAttribute("aria-pressed") !== "true";
    for (const other of buttons) if (other.dataset.of === editor) other.setAttribute("aria-pressed", String(shown));
    for (const mark of drawn) if (mark.dataset.editor === editor) mark.classList.toggle("off", !shown);
  });

  // Heads sort, up and then down; rows without a number stay last.
  const value = (row, at) => {
    const cell = row.cells[at];
    return cell === undefined ? "" : "v" in cell.dataset ? Number(cell.dataset.v) : cell.innerText.trim();
  };
  const empty = (one) => one === "" || one === "–";
  for (const head of document.querySelectorAll("thead th")) {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => {
      const table = head.closest("table"), body = table.tBodies[0], at = head.cellIndex;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => {
        const one = value(a, at), two = value(b, at);
        if (empty(one) || empty(two)) return empty(one) - empty(two);
        const order = typeof one === "number" && typeof two === "number"
          ? one - two : typeof one === typeof two ? String(one).localeCompare(String(two)) : typeof one === "number" ? -1 : 1;
        return up ? order : -order;
      });
      body.append(...rows);
    });
  }
  for (const input of document.querySelectorAll("input[data-filters]")) input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    const table = document.getElementById(input.dataset.filters);
    for (const row of table.tBodies[0].rows) {
      const text = row.innerText.toLowerCase() || row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      left += !row.hidden;
    }
    input.nextElementSibling.textContent = words.length ? `${left} of ${table.tBodies[0].rows.length} rows` : "";
  });
})();
