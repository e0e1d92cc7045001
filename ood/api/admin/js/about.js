// What runs here.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { heading } from "./ui.js";

export async function aboutView(root) {
  const versions = await ask("GET", "/version");
  root.append(heading("About"),
    h("dl.card.facts", Object.entries({ ood: versions.ood, Python: versions.python, Twisted: versions.twisted })
      .map(([word, value]) => h("div", h("dt", word), h("dd", value)))),
    h("p", "All of this page, and more, is on the command line: ", h("code", "ood help"), ". Programs use the API that ",
      h("a", { href: "/openapi.json", target: "_blank", rel: "noopener" }, "its OpenAPI document"), " describes."));
  return { title: "About" };
}
