// Before anything is drawn: the theme that was chosen, where one was; else the system decides.
// A classic script, as a module would run only after the page is shown.

document.documentElement.dataset.theme = localStorage.getItem("coffer.theme") ?? "auto";
