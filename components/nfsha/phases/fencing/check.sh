[ "$(crm_attribute --type crm_config --name stonith-enabled --query --quiet 2>/dev/null)" = true ] || differs "fencing is off"
