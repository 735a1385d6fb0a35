; A ROM of 4 KiB for machines without a BIOS: it reads the first sector of the first drive to 0:7C00h and goes there, as
; a BIOS does, with DL = 80h. It offers no services, and says on the first serial port what keeps it from booting.

SIZE    equ 1000h
DATA    equ 1f0h                ; the first ATA channel, and its registers from there on
STATUS  equ DATA + 7
BSY     equ 80h
DRQ     equ 08h
ERR     equ 01h
COM1    equ 3f8h
THERE   equ 7c00h

bits 16
org 10000h - SIZE               ; the offset in segment F000h
start:  cli
        cld
        xor ax, ax
        mov es, ax
        mov ss, ax
        mov sp, THERE
        mov dx, DATA + 2        ; one sector at LBA 0 of drive 0
        mov al, 1
        out dx, al
        mov cx, 3
        xor ax, ax
.zero:  inc dx
        out dx, al
        loop .zero
        inc dx
        mov al, 0e0h
        out dx, al
        inc dx
        mov al, 20h             ; READ SECTORS
        out dx, al
        xor cx, cx              ; 65536 times: a tenth of a second
.wait:  in al, dx
        test al, BSY
        loopnz .wait
        mov si, nodisk
        test al, DRQ
        jz fail
        mov di, THERE
        mov dx, DATA
        mov cx, 256
        rep insw
        mov si, nosystem
        cmp word [es:THERE + 510], 0aa55h
        jne fail
        mov dl, 80h
        jmp 0:THERE

fail:   mov dx, COM1
.next:  cs lodsb
        test al, al
        jz .stop
        mov ah, al
        add dx, 5
.full:  in al, dx
        test al, 20h            ; LSR.THRE
        jz .full
        sub dx, 5
        mov al, ah
        out dx, al
        jmp .next
.stop:  hlt                     ; with interrupts off

nodisk: db "boot: drive 0 cannot be read", 13, 10, 0
nosystem: db "boot: the first sector of drive 0 does not end in 55 AA: there is nothing to boot", 13, 10, 0

        times SIZE - 16 - ($ - $$) db 0ffh
        jmp 0f000h:start        ; the reset vector, F000:FFF0
        times SIZE - ($ - $$) db 0ffh
