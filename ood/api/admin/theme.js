// Before the first paint, so that nothing flashes: the colours that were chosen last time.
(() => {
  try {
    const theme = localStorage.getItem("ood-theme");
    if (theme) document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is off: the system's colours.
  }
})();
