package providers

import (
	"context"
	"io"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
)

// Frugal is the Pulumi CLI without the three commands that the Automation API
// runs after every update, for outputs and a summary that nobody reads. Each is
// a start of the CLI, and together they take longer than an update that has
// nothing to do.
type Frugal struct{ auto.PulumiCommand }

// Run answers for those commands, and leaves all others to the CLI.
func (f Frugal) Run(ctx context.Context, workdir string, stdin io.Reader, stdout, stderr []io.Writer, env []string, args ...string) (string, string, int, error) {
	if len(args) > 1 && args[0] == "stack" {
		switch args[1] {
		case "output":
			return "{}", "", 0, nil
		case "history":
			return "[]", "", 0, nil
		}
	}
	return f.PulumiCommand.Run(ctx, workdir, stdin, stdout, stderr, env, args...)
}
