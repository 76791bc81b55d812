"""The embedded stack: AWS's services emulated on this machine, template.yaml deployed into them."""
