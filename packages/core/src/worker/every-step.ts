/** Takes all steps one after another, also those after one that fails; what fails is told and ends nothing. */
export async function everyStep(steps: readonly (() => unknown)[], failed: (error: unknown) => void): Promise<void> {
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failed(error);
    }
  }
}
