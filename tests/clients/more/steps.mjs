// Runs named steps one after the other and prints a line of JSON for each: {"action", "ok", "error"?}
export async function run(steps) {
  let failed = 0;
  for (const [action, step] of Object.entries(steps)) {
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("no answer in 20 s")), 20_000)));
    try {
      await Promise.race([step(), late]);
      console.log(JSON.stringify({ action, ok: true }));
    } catch (error) {
      failed += 1;
      console.log(JSON.stringify({ action, ok: false, error: String(error.stack ?? error).slice(0, 500) }));
    } finally {
      clearTimeout(timer);
    }
  }
  console.log(JSON.stringify({ action: "the script ended", ok: true }));
  process.exit(failed ? 1 : 0);
}
