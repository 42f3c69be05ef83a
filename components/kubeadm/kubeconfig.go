package kubeadm

import (
	"encoding/base64"

	"go.yaml.in/yaml/v3"
)

// adminKubeconfig is the administrator's, from what the authorities hold.
func adminKubeconfig(cluster, server, authorities string) (string, error) {
	var parts []string
	for _, name := range []string{caCert, adminCert, adminKey} {
		text, err := authorityPart(authorities, name)
		if err != nil {
			return "", err
		}
		parts = append(parts, text)
	}
	return kubeconfig(cluster, server, administrator, parts[0], parts[1], parts[2])
}

// kubeconfig is the way of a user to a cluster; the last three are PEM.
func kubeconfig(cluster, server, user, ca, cert, key string) (string, error) {
	data := func(pem string) string { return base64.StdEncoding.EncodeToString([]byte(pem)) }
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": cluster,
		"clusters": []any{map[string]any{"name": cluster, "cluster": map[string]any{
			"server": server, "certificate-authority-data": data(ca),
		}}},
		"users": []any{map[string]any{"name": user, "user": map[string]any{
			"client-certificate-data": data(cert), "client-key-data": data(key),
		}}},
		"contexts": []any{map[string]any{"name": cluster, "context": map[string]any{"cluster": cluster, "user": user}}},
	})
	return string(text), err
}
