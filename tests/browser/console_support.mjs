// What the console's scenario is made of: people with the client module and nothing else, and the operator at the page.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { input, PHONE } from "./support.mjs";

// A user may be named so.
export const HOSTILE = "<img src=x onerror=\"globalThis.pwned=1\">";

/** People in one page, each with a client on the nodes given, in that order. */
export class People {
  constructor(tab) { this.tab = tab; }

  // Their page comes from a server of its own, which the nodes allow (tests/it/browser.rs): a client that goes from node to
  // node is at home at none of them.
  static async open(stage) {
    const source = await readFile(new URL("../../web/carillon-client.js", import.meta.url));
    const server = createServer((request, response) => {
      const isModule = request.url.endsWith(".js");
      response.setHeader("content-type", isModule ? "text/javascript" : "text/html");
      response.end(isModule ? source : "<title>people</title>");
    });
    await new Promise((ready) => server.listen(input.console.peoplePort, "127.0.0.1", ready));
    const tab = await stage.emptyTab("people");
    await tab.page.goto(`http://127.0.0.1:${input.console.peoplePort}/`);
    await tab.page.evaluate(async () => { Object.assign(globalThis, await import("/carillon-client.js"), { people: {} }); });
    return new People(tab);
  }

  /** Connects somebody; all events they hear are kept. */
  async connect(user, deviceId, urls) {
    await this.tab.page.evaluate(async ([name, token, device, where]) => {
      const client = new globalThis.CarillonClient({ urls: where, token, deviceId: device });
      const heard = [];
      client.on("*", (data, event) => heard.push({ event, ...data }));
      globalThis.people[name] = { client, heard };
      const late = new Promise((_, fail) => { setTimeout(() => fail(new Error(`${name} is not connected`)), 30_000); });
      await Promise.race([client.connect(), late]);
    }, [user, input.tokens[user], deviceId, urls]);
  }

  do(user, command, data) {
    return this.tab.page.evaluate(([name, what, more]) => globalThis.people[name].client.request(what, more), [user, command, data]);
  }

  /** Waits until somebody has heard an event with these fields. */
  hears(user, event, fields = {}) {
    return this.tab.until(`${user} hears ${event} ${JSON.stringify(fields)}`, () => this.tab.page.evaluate(([name, what, wanted]) =>
      globalThis.people[name].heard.find((one) => one.event === what && Object.entries(wanted).every(([field, value]) => one[field] === value)) ?? null,
    [user, event, fields]));
  }
}

/** The operator at the page of a node. */
export class Operator {
  constructor(tab, url) { Object.assign(this, { tab, url, page: tab.page }); }

  static async open(stage, url) {
    const operator = new Operator(await stage.emptyTab("operator"), url);
    await operator.page.goto(`${url}/console`);
    await operator.tab.sees("key");
    return operator;
  }

  $(testid) { return this.tab.$(testid); }
  until(what, look, timeout) { return this.tab.until(what, look, timeout); }

  async signIn(key) {
    await this.$("key").fill(key);
    await this.$("signin").click();
  }

  /** Opens a page of the console as a link would. */
  async go(hash) {
    await this.page.evaluate((to) => { location.hash = to; }, hash);
    await this.until(`the page ${hash}`, () => this.page.evaluate((to) => location.hash === to, hash));
  }

  /** The row of a table by its key, once it is there. */
  async row(testid, key) {
    const rows = this.$(testid).locator("tbody tr");
    const find = async () => {
      for (const one of await rows.all()) if (await one.getAttribute("data-key").catch(() => null) === key) return one;
      return null;
    };
    return this.until(`a row ${key} in ${testid}`, find);
  }

  /** The keys of all rows of a table. */
  keys(testid) {
    return this.$(testid).locator("tbody tr").evaluateAll((rows) => rows.map((row) => row.dataset.key));
  }

  /** The text of the cell of a column in a row. */
  async cell(testid, key, title) {
    return (await (await this.row(testid, key)).locator(`[data-label="${title}"] .cell`).innerText()).trim();
  }

  /** The dialog that an act opens: it is not done by Escape, nor by a press of its button before the step that it wants. */
  async asked({ sure, said }) {
    const dialog = this.$("ask");
    await dialog.waitFor({ state: "visible" });
    const text = await dialog.innerText();
    for (const part of said) if (!text.includes(part)) throw new Error(`the dialog does not say ${part}: ${text}`);
    if (await this.$("ask-go").isDisabled() !== sure) throw new Error(`one press is ${sure ? "enough" : "not enough"}: ${text}`);
    const focused = await this.page.evaluate(() => document.activeElement?.dataset.testid);
    if (focused !== "ask-back") throw new Error(`the dialog begins at ${focused}`);
    return dialog;
  }

  async agree({ sure, said, reason }) {
    await this.asked({ sure, said });
    if (reason) await this.$("ask-reason").fill(reason);
    if (sure) await this.$("ask-sure").check();
    await this.$("ask-go").click();
    await this.$("ask").waitFor({ state: "detached" });
  }

  /** What every page must be, whatever is on it. */
  async check(name) {
    const { page } = this;
    if (await page.evaluate(() => globalThis.pwned)) throw new Error(`${name}: a name was run as a script`);
    const nameless = await this.#nameless();
    if (nameless.length > 0) throw new Error(`${name}: controls without a name: ${nameless.join(", ")}`);
    const levels = await page.evaluate(() => [...document.querySelectorAll("h1, h2")].filter((one) => one.offsetParent).map((one) => one.localName));
    if (levels.filter((one) => one === "h1").length !== 1 || levels[0] !== "h1") throw new Error(`${name}: headings ${levels}`);
    const before = page.viewportSize();
    await page.setViewportSize(PHONE);
    await page.waitForTimeout(300);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 0) throw new Error(`${name}: a phone scrolls sideways by ${over} pixels`);
    await this.tab.screenshot(`console-${name}-phone`);
    await page.setViewportSize(before);
    for (const scheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme: scheme });
      await this.tab.screenshot(`console-${name}-${scheme}`);
    }
  }

  // As assistive technology is told by the browser.
  async #nameless() {
    const wanted = new Set(["button", "link", "textbox", "searchbox", "combobox", "checkbox", "region", "dialog", "table", "navigation", "form"]);
    const session = await this.page.context().newCDPSession(this.page);
    const { nodes } = await session.send("Accessibility.getFullAXTree");
    await session.detach();
    return nodes.filter((node) => !node.ignored && wanted.has(node.role?.value) && !node.name?.value?.trim()).map((node) => node.role.value);
  }
}
