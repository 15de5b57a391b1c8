//go:build tools

// The EST server that judges our client; only its version is ours.
package est

import _ "github.com/globalsign/est/cmd/estserver"
