// Three tool turns with the AI SDK of Vercel.
// Usage: node turns-ai-sdk.mjs URL KEY MODEL [stream] [responses]

import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'
import { CITIES, SAYS, TOOL, apiKey, model, tell, url } from './told.mjs'

// The name under which this SDK keeps Gemini's thought signatures.
const options = { baseURL: `${url}/v1`, apiKey }
const calls = []
const asks = {
  model: process.argv.includes('responses')
    ? createOpenAI(options)(model)
    : createOpenAICompatible({ name: 'google', ...options })(model),
  prompt: 'Weather?',
  maxRetries: 0,
  stopWhen: stepCountIs(6),
  tools: {
    [TOOL]: tool({
      description: SAYS,
      inputSchema: z.object({ city: z.enum(CITIES) }),
      execute: async ({ city }) => {
        calls.push(city)
        return `sunny in ${city}`
      },
    }),
  },
  // What a program of this SDK sets for reasoning models where nothing is kept for it.
  providerOptions: {
    openai: { store: false, include: ['reasoning.encrypted_content'], forceReasoning: true },
  },
}
const answer = process.argv.includes('stream') ? streamText(asks) : await generateText(asks)
tell({ text: await answer.text, calls })
