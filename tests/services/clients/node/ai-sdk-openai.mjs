// The AI SDK of Vercel with its default provider, which asks the Responses API.

import { createOpenAI } from '@ai-sdk/openai'
import { generateText, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'
import { CITIES, PROMPT, SAYS, TOOL, apiKey, hasTools, model, tell, thrown, url } from './told.mjs'

const chat = (id = model, key = apiKey) => createOpenAI({ baseURL: `${url}/v1`, apiKey: key })(id)
const asks = { model: chat(), prompt: PROMPT, maxRetries: 0 }

async function whole() {
  const answer = await generateText(asks)
  return { text: answer.text, finish: answer.finishReason, usage: answer.usage.outputTokens }
}

async function stream() {
  const answer = streamText(asks)
  const pieces = []
  for await (const piece of answer.textStream) pieces.push(piece)
  const finish = await answer.finishReason
  const usage = (await answer.usage).outputTokens
  return { text: pieces.join(''), pieces: pieces.length, finish, usage }
}

// Both ways with a tool that runs: the model asks, gets the result, and answers.
async function withTools() {
  const cities = []
  const weather = tool({
    description: SAYS,
    inputSchema: z.object({ city: z.enum(CITIES) }),
    execute: async ({ city }) => {
      cities.push(city)
      return 'sunny'
    },
  })
  const options = { ...asks, tools: { [TOOL]: weather }, stopWhen: stepCountIs(2) }
  const answer = await generateText(options)
  const streamed = streamText(options)
  return { cities, then: answer.text, streamed: await streamed.text }
}

tell({
  whole: await whole(),
  stream: await stream(),
  tools: hasTools ? await withTools() : null,
  errors: {
    key: await thrown(() => generateText({ ...asks, model: chat(model, 'wrong') })),
    model: await thrown(() => generateText({ ...asks, model: chat('no-such-model') })),
  },
})
