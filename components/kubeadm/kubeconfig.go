package kubeadm

import (
	"encoding/base64"

	"go.yaml.in/yaml/v3"
)

// kubeconfig is the administrator's, from what the authorities hold.
func kubeconfig(cluster, server, authorities string) (string, error) {
	data := map[string]string{}
	for _, name := range []string{caCert, adminCert, adminKey} {
		text, err := authorityPart(authorities, name)
		if err != nil {
			return "", err
		}
		data[name] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	const user = "halinux"
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": cluster,
		"clusters": []any{map[string]any{"name": cluster, "cluster": map[string]any{
			"server": server, "certificate-authority-data": data[caCert],
		}}},
		"users": []any{map[string]any{"name": user, "user": map[string]any{
			"client-certificate-data": data[adminCert], "client-key-data": data[adminKey],
		}}},
		"contexts": []any{map[string]any{"name": cluster, "context": map[string]any{"cluster": cluster, "user": user}}},
	})
	return string(text), err
}
