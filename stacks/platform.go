package stacks

import (
	"context"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

// probeTimeout is how long a look at one host may take before it is unknown.
const probeTimeout = 30 * time.Second

// Probe looks at all hosts of a configuration at once.
func Probe(ctx context.Context, c *Config) []host.Host {
	hosts, _ := c.hosts()
	return host.Probe(ctx, hosts, probeTimeout)
}

// Platform is the Pulumi program: it reads the configuration, reports all that
// is wrong with it at once, and builds the platform layer by layer.
func Platform(ctx *pulumi.Context) error {
	c, err := Load(ctx)
	if err != nil {
		return err
	}
	hosts, _ := c.hosts()
	if c.Drift == "detect" {
		hosts = Probe(context.Background(), c)
		for _, h := range hosts {
			if h.Drift.Err != nil {
				_ = ctx.Log.Warn("drift unknown: "+h.Drift.Err.Error(), nil)
			}
		}
	}
	baseArgs, _ := c.base(hosts)
	if _, err := host.NewBase(ctx, "base", baseArgs); err != nil {
		return err
	}
	return nil
}
