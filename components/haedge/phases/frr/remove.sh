no_service frr.service
