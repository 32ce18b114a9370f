// One scene with the official client: node client.mjs SCENE ADDRESS MODEL, the result on stdout as JSON.
import { Ollama } from "ollama";

const [scene, host, model] = process.argv.slice(2);
const ollama = new Ollama({ host });
const options = { temperature: 0 };
const ask = content => ({ role: "user", content });

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const scenes = {
  async generate() {
    const fields = { model, prompt: process.argv[5], options };
    const whole = await ollama.generate(fields);
    const parts = await all(await ollama.generate({ ...fields, stream: true }));
    return { whole, parts };
  },
  async chat() {
    const messages = [ask(process.argv[5])];
    const first = await ollama.chat({ model, messages, options });
    messages.push(first.message, ask(process.argv[6]));
    const parts = await all(await ollama.chat({ model, messages, options, stream: true }));
    return { first, parts };
  },
  async form() {
    const format = { type: "object", properties: { n: { type: "integer", maximum: 99, minimum: 0 } },
      required: ["n"], additionalProperties: false };
    return await ollama.generate({ model, prompt: "A number", format, options });
  },
  async logprobs() {
    return await ollama.generate(
      { model, prompt: "A number", logprobs: true, top_logprobs: 2, options: { num_predict: 3 } });
  },
  async vectors() {
    const embedded = await ollama.embed({ model, input: ["a", "b"], dimensions: 8 });
    const old = await ollama.embeddings({ model, prompt: "a" });
    return { embedded, old };
  },
  async models() {
    await ollama.create({ model: "child", from: model, system: "Be kind.", parameters: { top_k: 7 } });
    const statuses = await all(await ollama.create({ model: "other", from: "child", stream: true }));
    await ollama.copy({ source: "child", destination: "twin" });
    await ollama.generate({ model: "twin", prompt: "Hi", keep_alive: "5m", options: { num_predict: 1 } });
    const names = (await ollama.list()).models.map(one => one.name);
    const shown = await ollama.show({ model: "twin" });
    const running = (await ollama.ps()).models.map(one => one.name);
    for (const name of ["child", "other", "twin"]) await ollama.delete({ model: name });
    const left = (await ollama.list()).models.map(one => one.name);
    return { names, shown, running, left, statuses };
  },
  async tools() {
    const tools = [{ type: "function", function: { name: "weather", description: "The weather.",
      parameters: { type: "object", required: ["city"], properties: { city: { type: "string" } } } } }];
    const parts = await all(await ollama.chat(
      { model, messages: [ask("Is it cold?")], tools, think: true, stream: true }));
    return { parts };
  },
  async abort() {
    const stream = await ollama.generate({ model, prompt: "x", stream: true });
    let name = "none", count = 0;
    try {
      for await (const part of stream) if (++count === 3) ollama.abort();
    } catch (error) {
      name = error.name;
    }
    return { name, count };
  },
  async errors() {
    const found = [];
    for (const call of [
      () => ollama.chat({ model: "nobody", messages: [ask("x")] }),
      () => ollama.generate({ model, prompt: "x", options: { temperature: "hot" } }),
      () => ollama.chat({ model, messages: [ask("x")], think: true }),
      () => ollama.show({ model: "nobody" }),
    ])
      await call().catch(error => found.push([error.status_code, error.message]));
    return found;
  },
};

console.log(JSON.stringify(await scenes[scene]()));
