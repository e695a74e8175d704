// Looks at Superset in a browser: the dashboard and one chart. Arguments: Superset's address, the directory for screenshots.
// Prints a line of JSON a step: [step, answer]; what the charts draw is what the server sent for them.
const { chromium } = require('playwright-core');
const [base, directory] = process.argv.slice(2);
const say = (step, answer) => console.log(JSON.stringify([step, answer]));
const quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

(async () => {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: quiet });
  const page = await browser.newPage({ viewport: { width: 1500, height: 1000 } });
  const drawn = new Map();
  page.on('response', async (response) => {
    if (!response.url().includes('/api/v1/chart/data')) return;
    try {
      const form = response.request().postDataJSON().form_data;
      const body = await response.json();
      drawn.set(form.slice_id, [response.status(), body.result ? body.result.map((part) => [part.colnames, part.coltypes, part.data, part.error]) : body]);
    } catch (error) {
      drawn.set('error', String(error));
    }
  });
  await page.goto(base + '/login/');
  await page.locator('input:visible').first().fill('admin');
  await page.locator('input[type=password]:visible').fill('admin');
  await page.keyboard.press('Enter');
  await page.waitForURL((url) => !url.pathname.startsWith('/login'), { timeout: 60000 });
  await page.goto(base + '/superset/dashboard/1/');
  for (let wait = 0; wait < 120 && drawn.size < 5; wait++) await page.waitForTimeout(500);
  await page.waitForTimeout(4000);
  await page.screenshot({ path: directory + '/superset-dashboard.png' });
  say('charts of the dashboard', await page.locator('[data-test="chart-grid-component"]').count());
  say('charts that show an error', await page.locator('.ant-alert-error, [data-test="chart-error"]').count());
  for (const [chart, answer] of [...drawn].sort((a, b) => (a[0] > b[0] ? 1 : -1))) say('chart ' + chart + ' draws', answer);
  drawn.clear();
  await page.goto(base + '/explore/?slice_id=1');
  for (let wait = 0; wait < 120 && drawn.size < 1; wait++) await page.waitForTimeout(500);
  await page.waitForTimeout(4000);
  await page.screenshot({ path: directory + '/superset-chart.png' });
  say('canvases of a chart of its own', await page.locator('canvas').count());
  await browser.close();
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
