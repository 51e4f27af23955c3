import { Lovage } from "lovage";

export const app = new Lovage("shop");

export const add = app.task("shop.add", (x, y) => x + y);
