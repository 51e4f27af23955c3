/** Ends a test run with the one plain line that people and machines read alike: `N passed, N failed, N skipped`. */
export default class ClosingLineReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) {
      let tests = 0;
      for (const test of module.children.allTests()) {
        count[test.result().state] += 1;
        tests += 1;
      }
      // A file that could not even be loaded has no tests to fail.
      if (module.state() === "failed" && (tests === 0 || module.errors().length > 0)) count.failed += 1;
    }
    count.failed += unhandledErrors.length + count.pending;
    process.once("exit", () => console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`));
  }
}
