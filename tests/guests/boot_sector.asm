; A boot sector that a BIOS loads at 7c00h, from a disk or by El Torito from a CD-ROM. It talks through BIOS calls only:
; INT 14h sends each character, INT 13h tells the drive's size and reads a sector, INT 1Ah counts the timer's ticks.
;
; It says "boot DL BYTES SECTORS text" in hexadecimal, where text is what the sector at TEXT holds up to a zero, waits for
; two ticks with HLT, says "ticks", and halts with interrupts off.

        org 7c00h
        bits 16

        jmp 0:start

        times 16 - ($ - $$) db 0
text    dd 1                    ; what makes a disk writes here which sector the text is in

start:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 7c00h
        sti
        cld
        mov [drive], dl
        mov ax, 00e3h           ; 9600 baud, 8 bits, no parity, 1 stop bit
        xor dx, dx
        int 14h

        mov si, hello
        call say
        movzx eax, byte [drive]
        mov cx, 2
        call number
        mov ah, 48h             ; the drive's parameters
        mov si, parameters
        mov dl, [drive]
        int 13h
        jc failed
        movzx eax, word [parameters + 24]
        mov cx, 4
        call number
        mov eax, [parameters + 16]
        mov cx, 8
        call number

        mov eax, [text]
        mov [packet + 8], eax
        mov ah, 42h             ; read by LBA
        mov si, packet
        mov dl, [drive]
        int 13h
        jc failed
        mov si, 8000h
        call say

        call ticks
        mov bx, dx
        add bx, 2
.wait:  hlt
        call ticks
        cmp dx, bx
        jb .wait
        mov si, done
end:    call say
        cli
        hlt

failed: mov al, ah
        movzx eax, al
        mov cx, 2
        call number
        mov si, error
        jmp end

ticks:  mov ah, 0               ; dx: the low half of the ticks since midnight
        int 1ah
        ret

; Say the text at si, up to a zero.
say:    lodsb
        test al, al
        jz .end
        call send
        jmp say
.end:   ret

; Say the low cx hexadecimal digits of eax, and a blank.
number: mov bx, cx
        shl bx, 2
.next:  sub bx, 4
        push eax
        mov cl, bl
        shr eax, cl
        and al, 0fh
        cmp al, 10
        sbb al, 69h
        das                     ; 0 to 9 and A to F
        call send
        pop eax
        test bx, bx
        jnz .next
        mov al, ' '

send:   push ax
        push dx
        mov ah, 1
        xor dx, dx
        int 14h
        pop dx
        pop ax
        ret

hello   db "boot ", 0
done    db " ticks", 13, 10, 0
error   db "failed", 13, 10, 0
drive   db 0

packet  dw 16, 1, 8000h, 0      ; one sector to 0:8000h
        dd 0, 0
parameters dw 26
        times 24 db 0

        times 510 - ($ - $$) db 0
        dw 0aa55h
