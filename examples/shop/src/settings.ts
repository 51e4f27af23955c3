/** Where things are. All processes of the shop read the same variables; `start.ts` sets them for its children. */
import { fileURLToPath } from "node:url";

export const settings = {
  /** Orders, uploads and reports. With workers on several machines it has to be a folder that all of them see. */
  dataFolder: process.env["SHOP_DATA"] ?? fileURLToPath(new URL("../data", import.meta.url)),
  /** Of the page. When it is taken, any free port will do. */
  port: Number(process.env["SHOP_PORT"] ?? 3000),
  paymentUrl: process.env["SHOP_PAYMENT_URL"] ?? "http://127.0.0.1:3001",
} as const;
