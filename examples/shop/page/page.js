/** Shows what the server tells, as it tells it. Text from outside only ever becomes text: nothing here writes HTML. */
const $ = (selector, within = document) => within.querySelector(selector);

const money = (cents) => (cents / 100).toFixed(2);
/** Decimal text with its thousands apart; every digit stays. */
const digits = (amount) => amount.replace(/^-?\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

// Tasks and orders: one row for each id, newest first.

const STATES = { waiting: "Waiting", running: "Running", retrying: "Trying again", done: "Done", failed: "Failed", unknown: "Not known" };

/** The reports that this page has asked for: shown as soon as they are made. */
const awaited = new Set();
const rows = new Map();

function rowFor(list, template, id, time) {
  const key = `${list} ${id}`;
  let row = rows.get(key);
  if (!row) {
    row = $(template).content.firstElementChild.cloneNode(true);
    Object.assign(row.dataset, { id, time });
    rows.set(key, row);
    const older = [...$(list).children].find((other) => other.dataset.time < time);
    $(list).insertBefore(row, older ?? null);
  }
  return row;
}

function showTask(task) {
  const row = rowFor("#tasks", "#task-row", task.id, task.sentAt);
  $(".title", row).textContent = task.title;

  const state = $(".state", row);
  state.textContent = task.state === "running" && task.percent !== null ? `${STATES.running}, ${task.percent} %` : STATES[task.state];
  state.dataset.state = task.state;

  const progress = $("progress", row);
  progress.hidden = task.state !== "running" || task.percent === null;
  progress.value = task.percent ?? 0;
  progress.setAttribute("aria-label", `Progress of ${task.title}`);

  const attempts = task.attempts > 1 || task.state === "retrying" ? `attempt ${task.attempts}` : "";
  $(".note", row).textContent = [clock(task.sentAt), attempts, task.worker, task.problem].filter(Boolean).join(" · ");

  $("button", row).hidden = task.kind !== "report" || task.state !== "done";
  if (task.state === "done" || task.state === "failed") ended(task);
}

$("#tasks").addEventListener("click", ({ target }) => {
  if (target.matches("button")) void showReport(target.closest("li").dataset.id, { focus: true });
});

function ended(task) {
  if (task.kind === "report" && task.state === "done" && (awaited.delete(task.id) || $("#report").hidden)) void showReport(task.id);
  if (live) $("#news").textContent = `${task.title}: ${STATES[task.state]}`;
}

function showOrder(order) {
  const row = rowFor("#orders", "#order-row", order.id, order.placedAt);
  $(".title", row).textContent = `${order.quantity} × ${order.product}`;
  $(".amount", row).textContent = money(order.cents);
  $(".note", row).textContent = `${order.customer} · ${paymentText(order.payment)}`;
}

function paymentText(payment) {
  switch (payment.status) {
    case "paid":
      return `paid, receipt ${payment.receipt}${payment.attempts > 1 ? `, after ${payment.attempts} attempts` : ""}`;
    case "failed":
      return `not paid: ${payment.reason}`;
    default:
      return "payment due";
  }
}

// The stream. A browser reconnects by itself, and is then told everything from the start.

let live = false;
const events = new EventSource("api/events");
events.addEventListener("open", () => ($("#connection").textContent = "Live"));
events.addEventListener("error", () => {
  live = false;
  $("#connection").textContent = "Connecting again";
});
events.addEventListener("task", ({ data }) => showTask(JSON.parse(data)));
events.addEventListener("order", ({ data }) => showOrder(JSON.parse(data)));
events.addEventListener("told", () => (live = true)); // from here on it is news

// The report.

async function showReport(id, { focus = false } = {}) {
  const response = await fetch(`api/reports/${id}`);
  if (!response.ok) return;
  const report = await response.json();
  const view = $("#report-view").content.cloneNode(true);
  const { amount, category, date } = report.columns;

  $("h2", view).textContent = `Report on ${report.name}`;
  $(".note", view).textContent =
    `Amounts from the column “${amount}”, dates from “${date}”${category ? `, grouped by “${category}”` : ""}.`;
  $(".figures", view).append(
    figure("Total", digits(report.total), `${report.rows.toLocaleString("en")} rows`),
    figure("Smallest", digits(report.smallest.amount), `${report.smallest.date}, line ${report.smallest.line}`),
    figure("Largest", digits(report.largest.amount), `${report.largest.date}, line ${report.largest.line}`),
    figure("Rows left out", report.badRows.count.toLocaleString("en"), report.badRows.count === 0 ? "every row was used" : "listed below"),
  );

  const chart = $(".chart img", view);
  chart.alt = `Bar chart of ${amount} over time. The table of months below has the same figures.`;
  chart.src = `api/reports/${id}/chart.svg`;

  const categories = $(".categories", view);
  if (report.categories.length > 0) fillTable(categories, `By ${category}`, category, report.categories);
  else categories.remove();
  $("summary", view).textContent = `By month (${report.months.length})`;
  fillTable($(".months", view), null, "month", report.months);

  const badRows = $(".bad-rows", view);
  if (report.badRows.count === 0) badRows.remove();
  else {
    const { count, first } = report.badRows;
    $("summary", badRows).textContent = `Rows left out (${count})`;
    $("ul", badRows).append(...first.map(({ line, problem }) => element("li", `Line ${line}: ${problem}`)));
    if (count > first.length) $("ul", badRows).append(element("li", `and ${count - first.length} more`));
  }

  const section = $("#report");
  section.replaceChildren(view);
  section.hidden = false;
  if (focus) section.focus();
}

function figure(name, value, detail) {
  const group = element("div");
  const description = element("dd", value);
  description.append(element("small", detail));
  group.append(element("dt", name), description);
  return group;
}

function fillTable(table, caption, heading, groups) {
  if (caption) table.createCaption().textContent = caption;
  const head = table.createTHead().insertRow();
  head.append(columnHeading(heading), columnHeading("rows"), columnHeading("total"));
  const body = table.createTBody();
  for (const group of groups) {
    const row = body.insertRow();
    const name = element("th", group.name);
    name.scope = "row";
    row.append(name, element("td", group.rows.toLocaleString("en")), element("td", digits(group.total)));
  }
}

function columnHeading(text) {
  const heading = element("th", text);
  heading.scope = "col";
  return heading;
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

// The forms.

const order = $("#order");
const products = await (await fetch("api/products")).json();
order.product.append(...products.map(({ id, name, cents }) => new Option(`${name}, ${money(cents)}`, id)));

function showPrice() {
  const product = products.find(({ id }) => id === order.product.value);
  $("#price").textContent = money(product.cents * (order.quantity.valueAsNumber || 0));
}
order.addEventListener("input", showPrice);
showPrice();

onSubmit(order, async () => {
  const body = { product: order.product.value, quantity: order.quantity.valueAsNumber, customer: order.customer.value };
  await post("api/orders", "application/json", JSON.stringify(body));
});

const upload = $("#upload");
onSubmit(upload, async () => {
  const [file] = upload.file.files;
  const { id } = await post(`api/uploads?${new URLSearchParams({ name: file.name })}`, "text/csv", file);
  awaited.add(id);
  upload.reset();
});

function onSubmit(form, action) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [button, problem] = [$("button", form), $(".problem", form)];
    button.disabled = true;
    problem.textContent = "";
    try {
      await action();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      button.disabled = false;
      button.focus();
    }
  });
}

async function post(url, type, body) {
  const response = await fetch(url, { method: "POST", headers: { "content-type": type }, body }).catch(() => {
    throw new Error("The shop cannot be reached. Is it still running?");
  });
  const answer = await response.json();
  if (response.ok) return answer;
  throw new Error(response.status === 413 ? "The file is larger than 20 MB." : answer.message);
}
