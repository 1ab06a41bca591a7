// What the theme leaves out for people who do not see the page.
const here = document.currentScript.src;
document.addEventListener("DOMContentLoaded", () => {
  if (document.querySelector(".densenet-explorer")) { // half a megabyte: for the pages that show it
    document.head.append(Object.assign(document.createElement("script"), { src: new URL("explorer.js", here) }));
  }
  const sidebar = document.querySelector("#pst-primary-sidebar");
  sidebar?.setAttribute("role", "navigation");
  sidebar?.setAttribute("aria-label", "Course");
  for (const toggle of document.querySelectorAll("nav summary")) {
    const parent = toggle.closest("li")?.querySelector("a")?.textContent.trim();
    toggle.setAttribute("aria-label", `Pages under ${parent}`);
  }
  for (const corner of document.querySelectorAll("main th")) {
    if (corner.textContent.trim()) continue; // an empty header names nothing: a plain cell
    corner.replaceWith(Object.assign(document.createElement("td"), { className: corner.className }));
  }
});
