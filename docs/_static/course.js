// What the theme leaves out for people who do not see the page.
document.addEventListener("DOMContentLoaded", () => {
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
