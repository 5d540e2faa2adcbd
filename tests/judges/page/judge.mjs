// Chromium, axe-core and ajv as judges of the status page and of its JSON.
//
//     node tests/judges/page/judge.mjs target/debug/pinpoint-exporter target/debug/fake-pinpoint [FOLDER FOR PICTURES]
//
// The page must satisfy WCAG 2.2 AA, light and dark, ask for nothing but itself, be the same without scripts, and fit a phone;
// the JSON must be as docs/jobs.schema.json says. Every world below is looked at through a real exporter.
//
// With DOCUMENTATION=1 it judges nothing and draws the pictures of the documentation, for `make pictures`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import Ajv2020 from "ajv/dist/2020.js";

import { HANG_LIMIT, launch } from "./browser.mjs";

const [exporterProgram, fakeProgram, pictures] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const schema = JSON.parse(readFileSync(path.join(here, "../../../docs/jobs.schema.json"), "utf8"));
const validate = new Ajv2020({ allErrors: true, strict: true }).compile(schema);

const WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const PHONE = { width: 360, height: 740 }, NARROW = { width: 1296, height: 800 }, DESK = { width: 1440, height: 900 };
const LAPTOPS = [1101, 1280, 1366, 1440, 1536, 1600].map((width) => ({ width, height: 800 }));
const WALL = { width: 3840, height: 2160 }, PAPER = { width: 718, height: 1047 };
const APP = "6e0b7591a90841d2b5d93fa11143e5a7";
const hex = (n, length = 32) => n.toString(16).padStart(length, "0");
const id = (n) => (BigInt(n + 1) * 0x9e3779b97f4a7c15f39cc0605cedc835n % (1n << 128n)).toString(16).padStart(32, "0");

const nightly = (n, nights, life = {}) => ({
  id: id(n).slice(4), created: `-${nights * 24 - 5}h`, lasts: "25m", every: "1d", times: nights,
  endpoints: 240_000 + 1_000 * n, pieces: 24, s3_url_prefix: `s3://exports/nightly/${n}/`, ...life,
});
const running = (n, life = {}) => ({
  id: id(900 + n), created: "-7m", lasts: "20m", endpoints: 250_000, pieces: 24, s3_url_prefix: "s3://exports/now/", ...life,
});
// Two segments have the same name, and one has none.
const NAMES = ["Newsletter", "Win-back", "Loyal customers, at least three orders a year", "Trial users", "Trial users", ""];
const segments = (count, jobs) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [id(100 + n), { name: NAMES[n % NAMES.length], jobs: jobs(n) }]));
const one = (segments) => ({ applications: { [APP]: { name: "Shop", segments } } });

const RTL = "\u202Etxet desrever\u202C \u05e9\u05dc\u05d5\u05dd \u200Bhidden";
const SCRIPT = "<script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\">";
const LONG = "n".repeat(4096);

const healthy = segments(8, (n) => n < 3 ? [nightly(n, 6), running(n)] : [nightly(n, 6)]);
const failing = {
  ...segments(4, (n) => [nightly(n, 5)]),
  [id(50)]: { name: "Birthdays", jobs: [nightly(50, 4), running(50, { created: "-2h", lasts: "10m", end: "FAILED", failed_endpoints: 5_000, failed_pieces: 8 })] },
  [id(51)]: { jobs: [nightly(51, 3), running(51, { created: "-26h", lasts: "1h", end: "STUCK" })] },
  [id(52)]: { jobs: [nightly(52, 3, { failed_endpoints: 1_234, failed_pieces: 1 })] },
  [id(53)]: {},
};
const refusal = (name, message) => ({ kind: "error", name, ...(message && { message }) });

/** How every view is looked at, and once more without scripts. */
const LOOKS = [
  { viewport: DESK, colorScheme: "light" },
  { viewport: DESK, colorScheme: "dark" },
  { viewport: PHONE, colorScheme: "light" },
];

/** What is looked at: a world, how the exporter is set, what goes wrong, what is asked for, and how else it is looked at. */
const VIEWS = {
  empty: { world: one({}), targets: `${APP}/*` },
  unread: { world: one(healthy), targets: `${APP}/*`, scrapes: 0 },
  healthy: {
    world: one(healthy), targets: `${APP}/*`,
    also: [{ viewport: PHONE, colorScheme: "dark" }, { viewport: WALL, colorScheme: "dark" }, { viewport: NARROW, colorScheme: "light" }],
  },
  failing: {
    world: one(failing), targets: "*/*", settings: { SHOW_FAILURES: "true", REQUEST_TIMEOUT: "10s" },
    also: [{ viewport: PAPER, colorScheme: "dark", media: "print" }, ...LAPTOPS.map((viewport) => ({ viewport, colorScheme: "light" }))],
    faults: [
      { segment: id(100), fault: refusal("AccessDeniedException", `User: arn:aws:sts::123456789012:assumed-role/exporter/x is not authorized to perform: mobiletargeting:GetSegmentExportJobs on resource: arn:aws:mobiletargeting:us-east-1:123456789012:apps/${APP}/segments/${id(100)}`) },
      { segment: id(101), fault: { kind: "hang" } },
      { segment: id(102), fault: { kind: "html" } },
    ],
  },
  places: {
    world: { applications: { [APP]: { segments: healthy }, shop: { segments: segments(2, (n) => [nightly(n, 3)]) } } },
    targets: `arn:aws:mobiletargeting:us-east-1:123456789012:apps/${APP}/segments/* arn:aws:mobiletargeting:eu-west-1:210987654321:apps/shop/segments/*`,
    also: [{ viewport: NARROW, colorScheme: "dark" }],
  },
  many: {
    world: one(segments(500, (n) => [nightly(n, 20, n % 50 === 7 ? { end: "FAILED", failed_endpoints: 99 } : {})])),
    targets: `${APP}/*`, settings: { FINISHED_JOBS_PER_SEGMENT: "0", FINISHED_JOB_MAX_AGE: "0s" }, query: "?page=100", jobs: 10_000,
    also: [{ viewport: WALL, colorScheme: "light" }],
  },
  widest: {
    world: { applications: { [APP]: { segments: { ...segments(2, (n) => [{ item: {
      Id: id(700 + n), JobStatus: "PREPARING_FOR_INITIALIZATION", CreationDate: "2026-11-20T10:00:00Z",
      CompletionDate: "2026-11-20T11:00:00Z", TotalPieces: 123_456, CompletedPieces: 123_456, FailedPieces: 12_345,
      TotalProcessed: 1_234_567_890, TotalFailures: 1_234_567, Definition: { S3UrlPrefix: "s3://exports/a/folder/in/it/" },
    } }]), "  ": { jobs: [running(7)] } } } } },
    targets: `arn:aws:mobiletargeting:us-gov-west-1:123456789012:apps/${APP}/segments/* arn:aws:mobiletargeting:eu-west-1:210987654321:apps/none/segments/*`,
    settings: { FINISHED_JOB_MAX_AGE: "0s" },
    also: LAPTOPS.map((viewport) => ({ viewport, colorScheme: "light" })),
  },
  filtered: { world: one(failing), targets: "*/*", query: "?name=S&status=FAILED&status=PROCESSING&sort=-failed" },
  refused: { world: one({}), targets: `${APP}/*`, query: "?colour=red", status: 400 },
  hostile: {
    world: {
      applications: {
        [SCRIPT]: {
          name: RTL,
          segments: {
            [SCRIPT]: { name: LONG, jobs: [{ item: { Id: SCRIPT, JobStatus: "<b>NEW</b>", Failures: [SCRIPT, RTL, LONG, "someone@example.com"], TotalFailures: 4, CreationDate: "2026-11-20T10:00:00Z", Definition: { S3UrlPrefix: SCRIPT, RoleArn: SCRIPT } } }] },
            [RTL]: { name: SCRIPT, jobs: [{ item: { Id: RTL, JobStatus: "COMPLETED", TotalProcessed: 9007199254740993, CompletedPieces: 5, TotalPieces: 3, FailedPieces: 2 } }] },
            [LONG]: { name: RTL, jobs: [{ item: { Id: LONG, JobStatus: "FAILED", Definition: { S3UrlPrefix: LONG }, CreationDate: "9999-12-31T23:59:59Z", CompletionDate: "0001-01-01T00:00:00Z" } }] },
            "\u{1F600} ünï=&?#%/": { jobs: [running(1)] },
          },
        },
      },
    },
    targets: "*/*", settings: { SHOW_FAILURES: "true", FINISHED_JOB_MAX_AGE: "0s" },
  },
};

/** A program under test, until it says where it serves. */
function start(program, args, variables, serving) {
  const child = spawn(program, args, { env: { AWS_EC2_METADATA_DISABLED: "true", NO_PROXY: "*", ...variables } });
  const ready = new Promise((resolve, reject) => {
    let log = "";
    const read = (text) => {
      log += text;
      const found = log.match(serving);
      if (found) resolve(found[1]);
    };
    child.stdout.setEncoding("utf8").on("data", read);
    child.stderr.setEncoding("utf8").on("data", read);
    child.on("error", reject).on("exit", () => reject(new Error(`${program} ended:\n${log}`)));
    setTimeout(() => reject(new Error(`${program} does not serve:\n${log}`)), HANG_LIMIT).unref();
  });
  return { child, ready };
}

const get = (url, options) => fetch(url, { signal: AbortSignal.timeout(HANG_LIMIT), ...options });

/** Runs what is to be done with an exporter of a view. */
async function serving({ world, targets, settings = {}, faults = [], scrapes = 20 }, work) {
  const folder = mkdtempSync(path.join(tmpdir(), "page-judge-"));
  const children = [];
  try {
    writeFileSync(path.join(folder, "world.json"), JSON.stringify(world));
    const fake = start(fakeProgram, ["--listen", "127.0.0.1:0", "--world", path.join(folder, "world.json")], {}, /listening at (\S+)/);
    children.push(fake.child);
    const endpoint = await fake.ready;
    for (const fault of faults) {
      const answer = await get(`${endpoint}/_fake/faults`, { method: "POST", body: JSON.stringify(fault) });
      assert.ok(answer.ok, await answer.text());
    }
    const variables = {
      AWS_REGION: "us-east-1", AWS_ENDPOINT_URL_PINPOINT: endpoint,
      AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
      PINPOINT_EXPORTER_TARGETS: targets, PINPOINT_EXPORTER_LISTEN_ADDRESS: "127.0.0.1:0", PINPOINT_EXPORTER_CACHE_TTL: "5m",
      PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND: "0", PINPOINT_EXPORTER_MAX_ATTEMPTS: "1", PINPOINT_EXPORTER_REQUEST_TIMEOUT: "2m",
      ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [`PINPOINT_EXPORTER_${name}`, value])),
    };
    const exporter = start(exporterProgram, [], variables, /address=(\S+)/);
    children.push(exporter.child);
    const url = `http://${await exporter.ready}`;
    // A scrape waits until everything is found and read; on a slow machine the first one gives up.
    for (let scrape = 0, unread = 1; scrape < scrapes && unread > 0; scrape += 1) {
      await (await get(`${url}/metrics`, { headers: { "X-Prometheus-Scrape-Timeout-Seconds": "50" } })).text();
      unread = (await (await get(`${url}/api/v1/jobs`)).json()).totals.targets_not_read;
    }
    const requests = async () => (await (await get(`${endpoint}/_fake/requests`)).json()).length;
    const before = await requests();
    await work(url);
    assert.equal(await requests(), before, "looking at the page asked AWS");
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Looks at an address in a browser of its own; nothing may be wrong with it. Gives its text and its elements. */
async function look(browser, name, url, { colorScheme, viewport, media = "screen", javaScriptEnabled, status = 200 }) {
  const context = await browser.newContext({ colorScheme, viewport, javaScriptEnabled });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(HANG_LIMIT);
    await page.emulateMedia({ media });
    const wrong = [], requests = [];
    // The browser itself tells of the status of the answer, when that is no good one.
    const told = `Failed to load resource: the server responded with a status of ${status} `;
    page.on("console", (message) => message.text().startsWith(told) || wrong.push(message.text()));
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("request", (request) => requests.push(request.url()));
    const answer = await page.goto(url);
    assert.equal(answer.status(), status);
    const others = requests.filter((other) => other !== url && !other.startsWith("data:"));
    assert.deepEqual(others, [], `${name} asks for more than itself`);
    if (javaScriptEnabled) {
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(overflow <= 0, `${name} is ${overflow} px too wide at ${viewport.width} px`);
      if (media === "screen" && viewport.width > 1100) {
        const wrapped = await page.evaluate(() => [...document.querySelectorAll("#targets + table .id bdi")]
          .filter((id) => /^[0-9a-f]{32}$/.test(id.textContent) && id.getClientRects().length > 1).length);
        assert.equal(wrapped, 0, `${name} breaks ids of targets into lines at ${viewport.width} px`);
      }
      assert.equal(await page.evaluate(() => document.scripts.length), 0, `${name} has a script`);
      await page.evaluate(axe);
      const { violations, incomplete, passes } = await page.evaluate((tags) => axe.run({ runOnly: tags }), WCAG);
      const described = (rules) => rules.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 200)} ${node.failureSummary}`).join("; ")}`);
      assert.deepEqual(described(violations), [], `axe-core about ${name}, ${colorScheme}, ${viewport.width} px`);
      assert.ok(passes.length >= 5, `axe-core looked at ${passes.length} rules only`);
      // Text of one character, such as the dash of an absent value, is all that axe-core may leave to the eye.
      const short = ({ any }) => any.every(({ data }) => ["shortTextContent", "nonBmp"].includes(data?.messageKey));
      const left = incomplete.map((rule) => ({ ...rule, nodes: rule.nodes.filter((node) => !short(node)) }));
      assert.deepEqual(described(left.filter(({ nodes }) => nodes.length > 0)), [], `axe-core is not sure of ${name}`);
    }
    if (pictures) {
      const file = `${name}-${colorScheme}-${viewport.width}${javaScriptEnabled ? "" : "-noscript"}.png`;
      await page.screenshot({ path: path.join(pictures, file), fullPage: viewport.width < 1000 });
    }
    assert.deepEqual(wrong, [], `the browser about ${name}`);
    return await page.content();
  } finally {
    await context.close();
  }
}

/** The same page without what changes from one second to the next: ages, and when it was looked at. */
const timeless = (html) => html.replace(/<small>(in )?[0-9dhms ]+( ago)?<\/small>|<small>now<\/small>|<time.*?<\/time>|in [0-9dhms ]+<\/div>/g, "…");

async function judge(browser, name, view) {
  const query = view.query ?? "";
  const status = view.status ?? 200;
  await serving(view, async (url) => {
    const json = await get(`${url}/api/v1/jobs${query}`);
    const document = await json.json();
    assert.equal(json.status, status);
    if (status === 200) {
      assert.ok(validate(document), `${name}: ${JSON.stringify(validate.errors, null, 1)}`);
      assert.ok(!validate({ ...document, surprise: 1 }), "the schema lets anything pass");
      if (view.jobs) assert.equal(document.jobs.total, view.jobs);
    }
    const seen = [];
    const looks = [...LOOKS, ...(view.also ?? [])].map((look) => ({ ...look, javaScriptEnabled: true }));
    for (const options of [...looks, { ...LOOKS[0], javaScriptEnabled: false }]) {
      seen.push(await look(browser, name, `${url}/${query}`, { ...options, status }));
    }
    const first = timeless(seen[0]);
    for (const other of seen) assert.equal(timeless(other), first, `${name} is another page without scripts`);
    if (pictures) writeFileSync(path.join(pictures, `${name}.html`), seen[0]);
  });
  console.log(`ok: ${name}`);
}

/** The pictures of the documentation: which view they show, and how. `at` is the heading at the top. */
const DOCUMENTATION = {
  failing: { view: VIEWS.failing, viewport: DESK, colorScheme: "light" },
  jobs: { view: { ...VIEWS.healthy, targets: "*/*" }, viewport: { width: 1440, height: 800 }, colorScheme: "dark", at: "#jobs" },
  phone: { view: VIEWS.failing, viewport: { width: 390, height: 844 }, colorScheme: "dark", deviceScaleFactor: 2, at: "#segments" },
};

async function draw(browser, name, { view, at, ...options }) {
  await serving(view, async (url) => {
    const context = await browser.newContext(options);
    try {
      const page = await context.newPage();
      page.setDefaultTimeout(HANG_LIMIT);
      await page.goto(`${url}/`);
      if (at) await page.locator(at).evaluate((heading) => window.scrollTo(0, heading.offsetTop - 16));
      await page.screenshot({ path: path.join(pictures, `${name}.png`) });
    } finally {
      await context.close();
    }
  });
}

const browser = await launch();
try {
  const only = process.env.VIEWS?.split(",");
  const [work, all] = process.env.DOCUMENTATION ? [draw, DOCUMENTATION] : [judge, VIEWS];
  for (const [name, what] of Object.entries(all)) {
    if (!only || only.includes(name)) await work(browser, name, what);
  }
} finally {
  await browser.close();
}
