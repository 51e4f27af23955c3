const { Lovage } = require("lovage");

const app = new Lovage("shop");
const add = app.task("shop.add", (x, y) => x + y);

module.exports = { app, add };
