// The Responses API with the JavaScript client of OpenAI.

import OpenAI from 'openai'
import { CITIES, PROMPT, SAYS, TOOL, apiKey, hasTools, model, tell, thrown, url } from './told.mjs'

const parameters = {
  type: 'object',
  properties: { city: { type: 'string', enum: CITIES } },
  required: ['city'],
}
const tools = [{ type: 'function', name: TOOL, description: SAYS, parameters, strict: false }]

const client = (key = apiKey) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
const responses = client().responses
const told = (output) =>
  output.filter((item) => item.type === 'function_call').map((call) => [call.name, call.arguments])

async function whole() {
  const answer = await responses.create({ model, input: PROMPT })
  return { text: answer.output_text, status: answer.status, usage: answer.usage.total_tokens }
}

async function stream() {
  const got = { text: '', end: '' }
  for await (const event of await responses.create({ model, input: PROMPT, stream: true })) {
    if (event.type === 'response.output_text.delta') got.text += event.delta
    got.end = event.type
  }
  const events = responses.stream({ model, input: PROMPT })
  got.snapshot = (await events.finalResponse()).output_text
  return got
}

// Offer a tool, send back its result with the conversation and with an id, and ask as a stream.
async function withTools() {
  const answer = await responses.create({ model, input: PROMPT, tools })
  const calls = answer.output.filter((item) => item.type === 'function_call')
  const results = calls.map((call) => ({
    type: 'function_call_output',
    call_id: call.call_id,
    output: 'sunny',
  }))
  const turns = [{ role: 'user', content: PROMPT }, ...answer.output, ...results]
  const then = await responses.create({ model, input: turns, tools, store: false })
  const after = await responses.create({
    model,
    input: results,
    tools,
    previous_response_id: answer.id,
  })
  const streamed = await responses.stream({ model, input: PROMPT, tools }).finalResponse()
  return {
    calls: told(answer.output),
    then: then.output_text,
    after: after.output_text,
    streamed: told(streamed.output),
  }
}

tell({
  whole: await whole(),
  stream: await stream(),
  tools: hasTools ? await withTools() : null,
  errors: {
    key: await thrown(() => client('wrong').responses.create({ model, input: PROMPT })),
    model: await thrown(() => responses.create({ model: 'no-such-model', input: PROMPT })),
    body: await thrown(() => responses.create({ model, input: 7 })),
  },
})
