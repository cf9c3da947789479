// Three tool turns with the JavaScript client of OpenAI.
// Usage: node turns-openai.mjs URL KEY MODEL [stream]

import OpenAI from 'openai'
import { CITIES, SAYS, TOOL, apiKey, model, tell, url } from './told.mjs'

const parameters = {
  type: 'object',
  properties: { city: { type: 'string', enum: CITIES } },
  required: ['city'],
}
const tools = [{ type: 'function', function: { name: TOOL, description: SAYS, parameters } }]
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 })
const messages = [{ role: 'user', content: 'Weather?' }]
const calls = []

// The client's own helper keeps the last piece of a member that it does not know.
async function streamed() {
  const message = { role: 'assistant', content: '', tool_calls: [] }
  const chunks = await client.chat.completions.create({ model, messages, tools, stream: true })
  for await (const chunk of chunks) {
    const delta = chunk.choices[0]?.delta ?? {}
    message.content += delta.content ?? ''
    if (delta.reasoning_content) {
      message.reasoning_content = (message.reasoning_content ?? '') + delta.reasoning_content
    }
    for (const { index, ...piece } of delta.tool_calls ?? []) {
      const call = (message.tool_calls[index] ??= { ...piece, function: { name: '', arguments: '' } })
      Object.assign(call, { ...piece, function: call.function })
      call.function.name += piece.function?.name ?? ''
      call.function.arguments += piece.function?.arguments ?? ''
    }
  }
  return message
}

async function turn() {
  if (process.argv.includes('stream')) return streamed()
  return (await client.chat.completions.create({ model, messages, tools })).choices[0].message
}

let message
while ((message = await turn()).tool_calls?.length) {
  messages.push(message)
  for (const call of message.tool_calls) {
    const { city } = JSON.parse(call.function.arguments)
    calls.push(city)
    messages.push({ role: 'tool', tool_call_id: call.id, content: `sunny in ${city}` })
  }
}
tell({ text: message.content, calls })
