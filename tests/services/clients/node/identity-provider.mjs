// node-oidc-provider on loopback, with its own forms for development.
// Usage: node identity-provider.mjs CLIENTS.json; prints its URL.
import { createServer } from 'node:http'
import { readFileSync } from 'node:fs'
import { Provider } from 'oidc-provider'

const server = createServer()
server.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(url, {
    clients: JSON.parse(readFileSync(process.argv[2], 'utf8')),
    claims: { openid: ['sub'] },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: { enabled: false },
    },
    enabledJWA: { clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256'] },
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    ttl: { AccessToken: 3600, ClientCredentials: 3600, DeviceCode: 600, RefreshToken: 86400 },
  })
  server.on('request', provider.callback())
  console.log(url)
})
