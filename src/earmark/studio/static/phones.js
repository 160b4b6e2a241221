/** Phones as microphones. The studio's computer shows how to sign in and who is; a phone can sign out. */

import * as api from "./api.js";
import { arrange, byId, element, setText } from "./dom.js";
import { notifyError } from "./notice.js";

export class Phones {
  #dialog = byId("phones");
  #shownCode = "";
  /** By their devices' ids. @type {Map<string, Element>} */
  #items = new Map();

  constructor() {
    byId("phones-open").addEventListener("click", () => this.#dialog.showModal());
    byId("phones-renew").addEventListener("click", () => this.#change(api.renewCode));
    byId("sign-out").addEventListener("click", () => this.#signOut());
  }

  /** Whether this page is on a phone, whose sound goes over the network. */
  isPhone = false;

  /** Ask anew who is in, and show it. */
  async refresh() {
    const lan = await api.readLan().catch(() => null); // the page tells by itself that the server is gone
    this.isPhone = Boolean(lan && "device" in lan);
    byId("sign-out").hidden = !this.isPhone;
    byId("phones-open").hidden = !lan || this.isPhone;
    if (lan && "code" in lan) this.#show(lan);
  }

  /** @param {api.Lan} lan */
  #show({ urls, code, fingerprint, devices }) {
    setText(byId("phones-url"), urls.join(" or "));
    setText(byId("phones-code"), code);
    setText(byId("phones-fingerprint"), fingerprint);
    if (code !== this.#shownCode) byId("phones-qr").src = api.qrAddress(code);
    this.#shownCode = code;
    byId("phones-none").hidden = devices.length > 0;
    this.#items = new Map(devices.map((device) => [device.id, this.#items.get(device.id) ?? this.#item(device)]));
    arrange(byId("phones-list"), [...this.#items.values()]);
  }

  /** @param {api.Device} device */
  #item({ id, name, address, signed_in }) {
    const time = new Date(1_000 * signed_in).toLocaleTimeString([], { timeStyle: "short" });
    const button = element("button", {
      type: "button",
      textContent: "Sign out",
      "aria-label": `Sign out ${name} at ${address}`,
      onclick: () => this.#change(() => api.signOutDevice(id)),
    });
    return element("li", {}, element("span", { textContent: `${name} at ${address}, since ${time}` }), button);
  }

  async #change(request) {
    try {
      this.#show(await request());
    } catch (error) {
      notifyError(error);
      this.refresh();
    }
  }

  async #signOut() {
    try {
      await api.signOut();
      location.reload();
    } catch (error) {
      notifyError(error);
    }
  }
}
