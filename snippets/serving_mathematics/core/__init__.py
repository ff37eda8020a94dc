"""What many chapters stand on: engines that no single chapter owns."""
