// What the programs of this folder share. Usage of each: node openai.mjs URL KEY MODEL

export const [url, apiKey, model] = process.argv.slice(2)
// Whether the model behind the URL is offered tools: services that take only text refuse them.
export const hasTools = !process.argv.includes('text-only')
export const PROMPT = 'Hello'
export const TOOL = 'weather'
export const SAYS = 'The weather of a city'
export const CITIES = ['Paris', 'Rome']

/** The name of what a call throws and its status, such as `NotFoundError 404`. */
export async function thrown(call) {
  try {
    await call()
  } catch (error) {
    return [error.constructor.name, error.status ?? error.statusCode].filter(Boolean).join(' ')
  }
  return 'nothing'
}

/** Print one line of JSON. */
export function tell(got) {
  console.log(JSON.stringify(got))
}
