// What the theme leaves out for people who do not see the page.
document.addEventListener("DOMContentLoaded", () => {
  const sidebar = document.querySelector("#pst-primary-sidebar");
  sidebar?.setAttribute("role", "navigation");
  sidebar?.setAttribute("aria-label", "Course");
  for (const toggle of document.querySelectorAll("nav summary")) {
    const parent = toggle.closest("li")?.querySelector("a")?.textContent.trim();
    toggle.setAttribute("aria-label", `Pages under ${parent}`);
  }
});
