// Command registry is the CNCF's distribution with what a registry on a file
// system needs: the filesystem driver and htpasswd, without clouds. Beside it is a
// gate, so that garbage is collected while instances serve and no push is broken:
// see gate.go and collect.go.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	registry.RegisterHandler(newGate)
	// Distribution's own command asks that nobody pushes meanwhile.
	registry.RootCmd.RemoveCommand(registry.GCCmd)
	registry.RootCmd.AddCommand(collectCommand())
	if registry.RootCmd.Execute() != nil {
		os.Exit(1) // cobra has said why
	}
}

// rootDirectory is where a configuration keeps everything.
func rootDirectory(c *configuration.Configuration) string {
	root, _ := c.Storage.Parameters()["rootdirectory"].(string)
	return root
}
