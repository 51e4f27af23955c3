export interface Product {
  readonly id: string;
  readonly name: string;
  readonly cents: number;
}

export const catalogue: readonly Product[] = [
  { id: "seeds", name: "Lovage seeds, one packet", cents: 320 },
  { id: "tea", name: "Herbal tea, 100 g", cents: 895 },
  { id: "pot", name: "Clay pot, 24 cm", cents: 2450 },
  { id: "bed", name: "Raised bed, larch wood", cents: 18900 },
];
