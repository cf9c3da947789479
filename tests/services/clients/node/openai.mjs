// The JavaScript client of OpenAI.

import OpenAI from 'openai'
import { CITIES, PROMPT, SAYS, TOOL, apiKey, hasTools, model, tell, thrown, url } from './told.mjs'

const messages = [{ role: 'user', content: PROMPT }]
const parameters = {
  type: 'object',
  properties: { city: { type: 'string', enum: CITIES } },
  required: ['city'],
}
const tools = [{ type: 'function', function: { name: TOOL, description: SAYS, parameters } }]

const client = (key = apiKey) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
const told = (calls) => (calls ?? []).map((call) => [call.function.name, call.function.arguments])
const completions = client().chat.completions

async function whole() {
  const answer = await completions.create({ model, messages })
  const [choice] = answer.choices
  return { text: choice.message.content, finish: choice.finish_reason, usage: answer.usage }
}

async function stream() {
  const got = { text: '', finish: [], usage: null, chunks: 0 }
  const options = { stream: true, stream_options: { include_usage: true } }
  for await (const chunk of await completions.create({ model, messages, ...options })) {
    got.chunks += 1
    got.usage ??= chunk.usage ?? null
    got.text += chunk.choices[0]?.delta.content ?? ''
    if (chunk.choices[0]?.finish_reason) got.finish.push(chunk.choices[0].finish_reason)
  }
  return got
}

// Offer a tool, send back its result, and ask the same again as a stream.
async function withTools() {
  const [choice] = (await completions.create({ model, messages, tools })).choices
  const calls = choice.message.tool_calls ?? []
  const results = calls.map((c) => ({ role: 'tool', tool_call_id: c.id, content: 'sunny' }))
  const turns = [...messages, choice.message, ...results]
  const then = await completions.create({ model, messages: turns, tools })
  const streamed = await completions.stream({ model, messages, tools }).finalMessage()
  return {
    finish: choice.finish_reason,
    calls: told(calls),
    then: then.choices[0].message.content,
    streamed: told(streamed.tool_calls),
  }
}

const models = []
for await (const one of client().models.list()) models.push(one.id)

tell({
  models,
  whole: await whole(),
  stream: await stream(),
  tools: hasTools ? await withTools() : null,
  errors: {
    key: await thrown(() => client('wrong').models.list()),
    model: await thrown(() => completions.create({ model: 'no-such-model', messages })),
    body: await thrown(() => completions.create({ model, messages: 7 })),
  },
})
